package limits

import (
	"fmt"
	"net/url"
	"strings"
)

// Origins is the allow-list of pages that may open a WebSocket from a
// browser. Without entries a page of the server's own host may, and no other.
type Origins struct {
	any     bool
	allowed map[string]bool
}

// ParseOrigins reads entries of the form scheme://host[:port], or "*" for
// every page. Host and port are compared exactly, the default port of a scheme
// being the same as none.
func ParseOrigins(entries []string) (*Origins, error) {
	o := &Origins{allowed: make(map[string]bool)}
	for _, e := range entries {
		if e == "*" {
			o.any = true
			continue
		}
		origin, ok := normalOrigin(e)
		if !ok {
			return nil, fmt.Errorf("origin %q is not scheme://host[:port]", e)
		}
		o.allowed[origin] = true
	}
	return o, nil
}

// Allow reports whether a handshake with these headers may go on. A client
// that is not a browser sends no Origin and is allowed.
func (o *Origins) Allow(origin, host string) bool {
	if origin == "" || o.any {
		return true
	}
	normal, ok := normalOrigin(origin)
	if !ok {
		return false // "null", of a sandboxed page, is nobody's
	}
	if len(o.allowed) > 0 {
		return o.allowed[normal]
	}
	// Behind a proxy the scheme is the proxy's business: only hosts compare.
	u, err := url.Parse(normal)
	if err != nil {
		return false
	}
	return strings.EqualFold(withoutDefaultPort(u.Scheme, host), u.Host)
}

func normalOrigin(s string) (string, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return "", false
	}
	scheme := strings.ToLower(u.Scheme)
	return scheme + "://" + withoutDefaultPort(scheme, strings.ToLower(u.Host)), true
}

func withoutDefaultPort(scheme, host string) string {
	switch scheme {
	case "http", "ws":
		return strings.TrimSuffix(host, ":80")
	case "https", "wss":
		return strings.TrimSuffix(host, ":443")
	}
	return host
}
