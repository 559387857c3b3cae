package limits

import (
	"fmt"
	"net/netip"
	"strings"
)

// Proxies are the networks that are believed when they say for whom they
// connect.
type Proxies struct{ nets []netip.Prefix }

// ParseProxies reads networks in CIDR notation, or single addresses.
func ParseProxies(entries []string) (*Proxies, error) {
	p := &Proxies{}
	for _, e := range entries {
		net, err := netip.ParsePrefix(e)
		if err != nil {
			addr, aerr := netip.ParseAddr(e)
			if aerr != nil {
				return nil, fmt.Errorf("proxy %q is neither an address nor a network", e)
			}
			net = netip.PrefixFrom(addr, addr.BitLen())
		}
		p.nets = append(p.nets, net.Masked())
	}
	return p, nil
}

// Trusted reports whether an address is a proxy's.
func (p *Proxies) Trusted(addr netip.Addr) bool {
	for _, n := range p.nets {
		if n.Contains(addr) {
			return true
		}
	}
	return false
}

// Empty reports whether nobody is believed.
func (p *Proxies) Empty() bool { return len(p.nets) == 0 }

// Client is the address of the client behind a connection from peer: the
// last address in the header (X-Forwarded-For, its lines joined by commas in their
// order) that is not itself a trusted proxy's. What stands before it was written by the
// client and means nothing: it is not even looked at, as by who would look for quotes.
// Empty members of the list do not count.
func (p *Proxies) Client(peer netip.Addr, forwarded string) netip.Addr {
	addr := peer.Unmap()
	for forwarded != "" && p.Trusted(addr) {
		rest, last := "", forwarded
		if i := strings.LastIndexByte(forwarded, ','); i >= 0 {
			rest, last = forwarded[:i], forwarded[i+1:]
		}
		if last = strings.TrimSpace(last); last == "" {
			forwarded = rest
			continue
		}
		next, err := parseHop(last)
		if err != nil {
			return addr // what cannot be read cannot be believed
		}
		addr, forwarded = next, rest
	}
	return addr
}

// parseHop reads an address with or without a port, as proxies write it.
func parseHop(s string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a.Unmap(), nil
	}
	ap, err := netip.ParseAddrPort(s)
	return ap.Addr().Unmap(), err
}
