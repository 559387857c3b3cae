package netpoll

import (
	"encoding/binary"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// v2 is a version 2 header.
func v2(command, family byte, rest string) string {
	b := append([]byte(proxyV2), 0x20|command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(rest)))
	return string(b) + rest
}

const (
	addrs4 = "\xcb\x00\x71\x07\xc0\x00\x02\x01\xdc\x04\x01\xbb" // 203.0.113.7:56324 to 192.0.2.1:443
	addrs6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\xdc\x04\x01\xbb"
)

var proxyCases = []struct {
	name, header string
	client       string // empty: the proxy speaks for itself
	bad          bool
}{
	{"v1, IPv4", "PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n", "203.0.113.7:56324", false},
	{"v1, IPv6", "PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n", "[2001:db8::7]:56324", false},
	{"v1, IPv4 in IPv6", "PROXY TCP6 ::ffff:203.0.113.7 ::1 1 2\r\n", "203.0.113.7:1", false},
	{"v1, unknown", "PROXY UNKNOWN\r\n", "", false},
	{"v1, unknown with something behind it", "PROXY UNKNOWN ffff:f...f 65535\r\n", "", false},
	{"v1, longest", "PROXY UNKNOWN " + strings.Repeat("f", 91) + "\r\n", "", false},
	{"v2, IPv4", v2(1, 0x11, addrs4), "203.0.113.7:56324", false},
	{"v2, IPv6", v2(1, 0x21, addrs6), "[2001:db8::7]:56324", false},
	{"v2, more behind the addresses", v2(1, 0x11, addrs4+"\x03\x00\x04abcd"), "203.0.113.7:56324", false},
	{"v2, local", v2(0, 0x11, addrs4), "", false},
	{"v2, local without addresses", v2(0, 0, ""), "", false},
	{"v2, UNIX socket", v2(1, 0x31, strings.Repeat("x", 216)), "", false},
	{"v2, unspecified", v2(1, 0, "abc"), "", false},
	{"v2, longest", v2(0, 0, strings.Repeat("x", maxProxyV2-16)), "", false},

	{"none", "GET / HTTP/1.1\r\n", "", true},
	{"TLS", "\x16\x03\x01\x02\x00\x01", "", true},
	{"v1, too long", "PROXY UNKNOWN " + strings.Repeat("f", 92) + "\r\n", "", true},
	{"v1, endless", "PROXY TCP4 " + strings.Repeat("1", 200), "", true},
	{"v1, without CR", "PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\n", "", true},
	{"v1, one word", "PROXY \r\n", "", true},
	{"v1, no ports", "PROXY TCP4 203.0.113.7 192.0.2.1\r\n", "", true},
	{"v1, a field too many", "PROXY TCP4 203.0.113.7 192.0.2.1 1 2 3\r\n", "", true},
	{"v1, other family", "PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n", "", true},
	{"v1, other family of one", "PROXY TCP4 203.0.113.7 2001:db8::1 1 2\r\n", "", true},
	{"v1, zone", "PROXY TCP6 fe80::1%eth0 2001:db8::1 1 2\r\n", "", true},
	{"v1, no address", "PROXY TCP4 example.org 192.0.2.1 1 2\r\n", "", true},
	{"v1, leading zero", "PROXY TCP4 203.0.113.7 192.0.2.1 01 2\r\n", "", true},
	{"v1, signed port", "PROXY TCP4 203.0.113.7 192.0.2.1 +1 2\r\n", "", true},
	{"v1, port 65536", "PROXY TCP4 203.0.113.7 192.0.2.1 65536 2\r\n", "", true},
	{"v1, UDP", "PROXY UDP4 203.0.113.7 192.0.2.1 1 2\r\n", "", true},
	{"v2, version 1", strings.Replace(v2(1, 0x11, addrs4), "\x21", "\x11", 1), "", true},
	{"v2, command 2", v2(2, 0x11, addrs4), "", true},
	{"v2, addresses cut off", v2(1, 0x11, addrs4[:11]), "", true},
	{"v2, IPv6 with addresses of IPv4", v2(1, 0x21, addrs4), "", true},
	{"v2, too long", v2(0, 0, strings.Repeat("x", maxProxyV2-15)), "", true},
}

func TestParseProxy(t *testing.T) {
	for _, c := range proxyCases {
		t.Run(c.name, func(t *testing.T) {
			client, n, err := parseProxy([]byte(c.header + "GET"))
			switch {
			case c.bad && err == nil:
				t.Errorf("taken for %v, %d bytes", client, n)
			case !c.bad && (err != nil || n != len(c.header)):
				t.Errorf("%d bytes, %v; want %d", n, err, len(c.header))
			case c.client != "" && client != netip.MustParseAddrPort(c.client), c.client == "" && client.IsValid():
				t.Errorf("client %v, want %q", client, c.client)
			}
			// However much of it has come: not yet, or bad, but never good.
			for i := range len(c.header) {
				if _, n, err := parseProxy([]byte(c.header[:i])); n != 0 || err != nil && !c.bad {
					t.Fatalf("the first %d bytes: %d, %v", i, n, err)
				}
			}
		})
	}
}

// What is good is good whatever follows, and not before it is complete.
func FuzzProxy(f *testing.F) {
	for _, c := range proxyCases {
		f.Add([]byte(c.header))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		client, n, err := parseProxy(b)
		switch {
		case n < 0 || n > len(b) || n > maxProxyV2:
			t.Fatalf("%d bytes of %d", n, len(b))
		case err != nil && (n != 0 || client.IsValid()):
			t.Fatalf("%v, and yet %v and %d bytes", err, client, n)
		case n == 0 && err == nil && len(b) >= maxProxyV2:
			t.Fatalf("%d bytes are not enough", len(b))
		case n > 0:
			if again, m, err := parseProxy(b[:n]); again != client || m != n || err != nil {
				t.Fatalf("%v, %d bytes; alone %v, %d, %v", client, n, again, m, err)
			}
			if _, m, err := parseProxy(b[:n-1]); m != 0 || err != nil {
				t.Fatalf("without its last byte it has %d, %v", m, err)
			}
		}
	})
}

// startProxied serves echo and pages that tell the client's address.
func startProxied(t *testing.T, trusted bool) string {
	t.Helper()
	cfg := Config{Proxied: func(peer netip.Addr) bool { return trusted && peer.IsLoopback() }}
	cfg.Upgrade = func(r *Request) (Handler, *Reject) {
		return &greeter{echo{make(chan uint16, 1)}, r.Peer().String()}, nil
	}
	_, addr := start(t, cfg, nil)
	return addr
}

// greeter tells a client its address.
type greeter struct {
	echo
	greeting string
}

func (g *greeter) Opened(c *Conn) { c.Reply(false, []byte(g.greeting)) }

func TestProxiedConnections(t *testing.T) {
	addr := startProxied(t, true)
	for _, c := range proxyCases {
		want := "127.0.0.1"
		if c.client != "" {
			want = netip.MustParseAddrPort(c.client).Addr().String()
		}
		for _, step := range []int{1 << 20, 11} {
			t.Run(c.name, func(t *testing.T) {
				p := connect(t, addr)
				for b := []byte(c.header + string(bareRequest)); len(b) > 0; {
					n := min(step, len(b))
					if _, err := p.Write(b[:n]); err != nil {
						break // the server has seen enough
					}
					b = b[n:]
				}
				resp, err := http.ReadResponse(p.r, nil)
				if c.bad {
					if err == nil {
						t.Errorf("answered %s", resp.Status)
					}
					return
				}
				if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
					t.Fatalf("answered %v, %v", resp, err)
				}
				p.expect(ws.OpText, want)
			})
		}
	}
}

// The HTTP server learns the address too, and so does a loop that is given the
// connection back.
func TestProxiedPages(t *testing.T) {
	addr := startProxied(t, true)
	p := connect(t, addr)
	p.send([]byte(proxyCases[0].header + "GET /whoami HTTP/1.1\r\nHost: x\r\n\r\n"))
	resp, err := http.ReadResponse(p.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != proxyCases[0].client {
		t.Errorf("the page was asked for by %q, %v", body, err)
	}
	p.send(bareRequest)
	if resp, err = http.ReadResponse(p.r, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("answered %v, %v", resp, err)
	}
	p.expect(ws.OpText, "203.0.113.7")
}

// Nobody else may name an address.
func TestNotProxied(t *testing.T) {
	addr := startProxied(t, false)
	for _, c := range proxyCases[:7] {
		p := connect(t, addr)
		p.send([]byte(c.header + string(bareRequest)))
		if resp, err := http.ReadResponse(p.r, nil); err == nil && resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: answered %s", c.name, resp.Status)
		}
	}
	p := handshake(t, addr)
	p.expect(ws.OpText, "127.0.0.1")
}
