package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hubbub-chat/hubbub/netpoll"
)

// endpoint is one address of the server.
type endpoint struct {
	addr netip.AddrPort
	host string // as the address has it, a name perhaps
	uri  string
	url  int  // the number of the --url that it is an address of
	dead bool // nobody answered there when the run began
}

// lookup finds the addresses of a name.
type lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

// How long a name's addresses are tried before the run, and how long those that are
// slower than the first to answer.
const (
	probeTimeout = 5 * time.Second
	probeGrace   = time.Second
)

// endpoints are the addresses of all URLs. Where a name has several, they are tried:
// connections go to those that answer, in turn, and notes say which these are.
func (t *target) endpoints(env environment) (all []endpoint, notes []string, err error) {
	for i, address := range t.URLs {
		e, u, err := parseURL(address)
		if err != nil {
			return nil, nil, err
		}
		e.url = i
		addrs, err := resolve(env, u)
		if err != nil {
			return nil, nil, usageError(fmt.Sprintf("--url %s: %v", address, err))
		}
		errs := make([]error, len(addrs))
		if len(addrs) > 1 {
			errs = probe(env.ctx, addrs)
			addrs, errs = preferred(addrs, errs)
			notes = append(notes, tried(u.Host, addrs, errs))
		}
		for k, addr := range addrs {
			e.addr, e.dead = addr, errs[k] != nil
			all = append(all, e)
		}
	}
	return all, notes, nil
}

// parseURL reads one --url. Its host is still to be resolved.
func parseURL(address string) (e endpoint, u *url.URL, err error) {
	u, err = url.Parse(address)
	switch {
	case err != nil:
		return e, nil, usageError(fmt.Sprintf("--url: %v", err))
	case u.Scheme == "wss" || u.Scheme == "https":
		return e, nil, usageError(fmt.Sprintf("--url %s: TLS ends at the proxy: give the ws:// address behind it", address))
	case u.Scheme != "ws" || u.Hostname() == "":
		return e, nil, usageError(fmt.Sprintf("--url %s: want ws://HOST:PORT/PATH", address))
	}
	if e.uri = u.RequestURI(); u.Path == "" {
		e.uri = "/" + e.uri
	}
	e.uri = strings.ReplaceAll(e.uri, "%7Broom%7D", roomMark)
	e.host = u.Host
	return e, u, nil
}

func resolve(env environment, u *url.URL) (all []netip.AddrPort, err error) {
	port := u.Port()
	if port == "" {
		port = "80"
	}
	find := env.lookup
	if find == nil {
		find = net.DefaultResolver.LookupNetIP
	}
	ctx, cancel := context.WithTimeout(env.ctx, 10*time.Second)
	defer cancel()
	ips, err := find(ctx, "ip", u.Hostname())
	if err != nil {
		return nil, err
	}
	for _, ip := range ips {
		addr, err := netip.ParseAddrPort(net.JoinHostPort(ip.Unmap().String(), port))
		if err != nil {
			return nil, err
		}
		if !slices.Contains(all, addr) {
			all = append(all, addr)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no address", u.Hostname())
	}
	return all, nil
}

var errNoAnswerInTime = errors.New("no answer in time")

// probe connects to all addresses at once, and returns why each could not be. When one
// has answered, the others are not waited for much longer.
func probe(ctx context.Context, addrs []netip.AddrPort) []error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	errs := make([]error, len(addrs))
	var wg sync.WaitGroup
	for i, addr := range addrs {
		wg.Go(func() { // ends with ctx
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr.String())
			if err == nil {
				_ = conn.Close() // nothing was said
				time.AfterFunc(probeGrace, cancel)
			}
			errs[i] = plainly(ctx, err)
		})
	}
	wg.Wait()
	return errs
}

// plainly is the error without what everybody knows: which call, and to where.
func plainly(ctx context.Context, err error) error {
	var op *net.OpError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errNoAnswerInTime
	case errors.As(err, &op):
		err = op.Err
	}
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	return err
}

// preferred puts the addresses that answer first. Of this machine's own, those of IPv4
// are enough: they alone can be connected to from many addresses.
func preferred(addrs []netip.AddrPort, errs []error) ([]netip.AddrPort, []error) {
	four := false
	for i, a := range addrs {
		four = four || errs[i] == nil && a.Addr().Is4() && a.Addr().IsLoopback()
	}
	var first, last []netip.AddrPort
	var why []error
	for i, a := range addrs {
		switch {
		case four && a.Addr().Is6() && a.Addr().IsLoopback() && errs[i] == nil:
		case errs[i] == nil:
			first = append(first, a)
		default:
			last, why = append(last, a), append(why, errs[i])
		}
	}
	return append(first, last...), append(make([]error, len(first)), why...)
}

// tried says in a line which of a name's addresses are used.
func tried(host string, addrs []netip.AddrPort, errs []error) string {
	var good, bad []string
	for i, a := range addrs {
		if errs[i] == nil {
			good = append(good, a.String())
		} else {
			bad = append(bad, fmt.Sprintf("%s (%v)", a, errs[i]))
		}
	}
	switch {
	case len(good) == 0:
		return fmt.Sprintf("%s: none of its addresses answers: %s", host, strings.Join(bad, ", "))
	case len(bad) == 0:
		return fmt.Sprintf("%s: connections go to %s", host, strings.Join(good, ", "))
	}
	return fmt.Sprintf("%s: connections go to %s, not to %s", host, strings.Join(good, ", "), strings.Join(bad, ", "))
}

// answering are the endpoints that do or, where none does, all.
func answering(all []endpoint) []endpoint {
	alive := slices.DeleteFunc(slices.Clone(all), func(e endpoint) bool { return e.dead })
	if len(alive) == 0 {
		return all
	}
	return alive
}

// route is the addresses of one URL, those that answered before the others.
type route struct {
	dials []netpoll.Dial
	alive int
}

// routesOf groups endpoints by their URL. Where none has answered, all are tried.
func routesOf(all []endpoint, subprotocol string) (routes []route) {
	for _, e := range all {
		if e.url == len(routes) {
			routes = append(routes, route{})
		}
		r := &routes[e.url]
		r.dials = append(r.dials, netpoll.Dial{Addr: e.addr, Host: e.host, URI: e.uri, Subprotocol: subprotocol})
		if !e.dead {
			r.alive = len(r.dials)
		}
	}
	for i := range routes {
		if routes[i].alive == 0 {
			routes[i].alive = len(routes[i].dials)
		}
	}
	return routes
}

// dial is where client i goes at its n-th attempt, from 0: to the URLs in turn and to
// the addresses of each in turn. One that comes back goes on to the next URL; without
// that, to the next address of the same. After long in vain the addresses that did not
// answer in the beginning are tried too.
func (f *fleet) dial(i, n int) netpoll.Dial {
	urls := len(f.routes)
	u, k := i%urls, i/urls+n
	if f.comeback.on() {
		u, k = (i+n)%urls, (i+n)/urls
	}
	r := &f.routes[u]
	if many := r.alive; f.comeback.on() && n < 2*urls*many || !f.comeback.on() && n < many {
		return r.dials[k%many]
	}
	return r.dials[k%len(r.dials)]
}

// addresses is how many client i can try without coming back.
func (f *fleet) addresses(i int) int { return len(f.routes[i%len(f.routes)].dials) }
