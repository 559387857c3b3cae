package limits

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Origins is the allow-list of pages that may open a WebSocket from a
// browser. Without entries a page of the server's own host may, and no other.
type Origins struct {
	any     bool
	null    bool // what browsers call the origin of sandboxed pages and of files
	allowed map[origin]bool
	below   []origin // of wildcards: host is what an origin's has to end with, beginning with the dot
}

// origin is an origin (RFC 6454) in its one normal form: in lower case, and
// without the port that its scheme has anyway. The host of file:// is empty.
type origin struct{ scheme, host, port string }

// ParseOrigins reads entries of the form scheme://host[:port], where a first
// label * stands for all subdomains; "null"; or "*" for every page. Whatever
// browsers and the web views of applications send can be listed (file://,
// capacitor://localhost, chrome-extension://ID); an error says what to write in
// the place of what they never send.
func ParseOrigins(entries []string) (*Origins, error) {
	o := &Origins{allowed: make(map[origin]bool)}
	for _, e := range entries {
		switch e = strings.TrimSpace(e); e {
		case "*":
			o.any = true
			continue
		case "null":
			o.null = true
			continue
		}
		entry, err := parseEntry(e)
		if err != nil {
			return nil, fmt.Errorf("origin %q %w", e, err)
		}
		if below, ok := strings.CutPrefix(entry.host, "*"); ok {
			entry.host = below
			o.below = append(o.below, entry)
		} else {
			o.allowed[entry] = true
		}
	}
	return o, nil
}

// parseEntry reads an entry that is no keyword. The host of a wildcard begins
// with "*.".
func parseEntry(e string) (origin, error) {
	scheme, rest, ok := strings.Cut(e, "://")
	switch {
	case !ok && rest == "" && e != "" && !strings.ContainsAny(e, ":/ "):
		return origin{}, fmt.Errorf("has no scheme; write https://%s or http://%s", e, e)
	case !ok:
		return origin{}, errors.New("is not scheme://host[:port]")
	case strings.Contains(scheme, "*"):
		return origin{}, fmt.Errorf("has a * for its scheme; list https://%s and http://%s, or write * for every page", rest, rest)
	case strings.EqualFold(scheme, "ws"), strings.EqualFold(scheme, "wss"):
		return origin{}, fmt.Errorf("is the address of a socket; an origin is that of the page: write %s://%s", map[int]string{2: "http", 3: "https"}[len(scheme)], rest)
	case strings.Trim(rest, "/") == "*", strings.HasPrefix(rest, "*:"):
		return origin{}, errors.New("has a * for the whole host; write * for every page, or https://*.example.com for the subdomains of one name")
	}
	for _, r := range rest {
		if r >= 0x80 {
			return origin{}, fmt.Errorf("has letters that browsers send in their ASCII form (xn--…); write what a browser's console shows for new URL(%q).origin", e)
		}
	}
	below, wildcard := strings.CutPrefix(rest, "*.")
	if strings.Contains(below, "*") {
		return origin{}, errors.New("has a * that is not all of the first label; write https://*.example.com, and list ports one by one")
	}
	o, err := parseOrigin(scheme + "://" + below)
	if err == nil && wildcard {
		if o.host == "" || strings.HasPrefix(o.host, "[") {
			return origin{}, errors.New("has a * without a name behind it; write https://*.example.com")
		}
		o.host = "*." + o.host
	}
	return o, err
}

// parseOrigin brings what a browser sends, or an entry without a wildcard, to
// the normal form.
func parseOrigin(s string) (origin, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil && strings.Contains(err.Error(), "port"):
		return origin{}, errors.New("has a port that is not a number")
	case err != nil || u.Scheme == "" || u.Opaque != "":
		return origin{}, errors.New("is not scheme://host[:port]")
	case u.User != nil:
		return origin{}, errors.New("has a user; an origin is scheme://host[:port] alone")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(s, "#"):
		return origin{}, fmt.Errorf("has a path; an origin is that of all pages of a host: write %s://%s", u.Scheme, u.Host)
	case u.Hostname() == "" && (u.Scheme != "file" || u.Host != ""):
		return origin{}, errors.New("has no host")
	}
	o := origin{scheme: u.Scheme, host: strings.ToLower(u.Hostname())} // url.Parse has brought the scheme to lower case
	if strings.HasPrefix(u.Host, "[") {
		addr, err := netip.ParseAddr(o.host)
		if err != nil || addr.Zone() != "" {
			return origin{}, errors.New("has no IPv6 address between its brackets")
		}
		o.host = "[" + addr.String() + "]"
	} else if strings.ContainsAny(o.host, notInHosts) {
		return origin{}, errors.New("has a host with characters that no host has")
	}
	if u.Port() != "" {
		port, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil || port == 0 {
			return origin{}, errors.New("has a port that is not between 1 and 65535")
		}
		o.port = strconv.FormatUint(port, 10)
	}
	if o.port == defaultPorts[o.scheme] {
		o.port = ""
	}
	return o, nil
}

// notInHosts are the forbidden domain code points of url.spec.whatwg.org that
// url.Parse lets through; browsers send no origin with one of these.
const notInHosts = " #%/:<>?@[\\]^|"

var defaultPorts = map[string]string{"http": "80", "https": "443"}

// Allow reports whether a handshake with these headers may go on. A client
// that is not a browser sends no Origin and is allowed.
func (o *Origins) Allow(header, host string) bool {
	switch {
	case header == "" || o.any:
		return true
	case header == "null":
		return o.null // of every sandboxed page, whoever's it is
	}
	from, err := parseOrigin(header)
	if err != nil {
		return false
	}
	if len(o.allowed) > 0 || len(o.below) > 0 || o.null {
		return o.allowed[from] || o.isBelow(from)
	}
	// Behind a proxy the scheme is the proxy's business: only hosts compare.
	own, err := parseOrigin(from.scheme + "://" + host)
	return err == nil && own == from && own.host != ""
}

// isBelow reports whether an origin is one of a subdomain that a wildcard
// stands for.
func (o *Origins) isBelow(from origin) bool {
	for _, b := range o.below {
		if b.scheme == from.scheme && b.port == from.port && len(from.host) > len(b.host) && strings.HasSuffix(from.host, b.host) {
			return true
		}
	}
	return false
}
