package netpoll

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

const bareFields = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// newUpgrader answers handshakes without a socket.
func newUpgrader(cfg Config) *upgrader {
	e := &Engine{cfg: cfg}
	e.cfg.setDefaults()
	l := &Loop{engine: e}
	l.upgrade.init(l)
	return &l.upgrade
}

// answerHead answers a head as a loop does that has read it as a whole.
func (u *upgrader) answerHead(c *Conn, head []byte) ([]byte, Handler) {
	line, ok, _ := u.line.read(head)
	if !ok {
		return errorResponse(http.StatusBadRequest, "malformed request line"), nil
	}
	return u.answer(c, line, head, netip.AddrPort{})
}

func (u *upgrader) try(head string) (*http.Response, Request, *Conn) {
	c := &Conn{loop: u.loop, fd: -1}
	b, _ := u.answerHead(c, []byte(head))
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
	if err != nil {
		panic(fmt.Sprintf("%v: %q", err, b))
	}
	return resp, u.req, c
}

// A handshake whose request line is the last one's costs its loop three allocations: the
// header fields' text, Host and Origin.
func TestHandshakeAllocations(t *testing.T) {
	u := newUpgrader(Config{Upgrade: func(*Request) (Handler, *Reject) { return discard{}, nil }})
	head := []byte("GET /ws?format=json HTTP/1.1\r\nHost: chat.example\r\nOrigin: https://chat.example\r\n" + bareFields + "\r\n")
	c := &Conn{loop: u.loop, fd: -1}
	n := testing.AllocsPerRun(100, func() {
		if _, h := u.answerHead(c, head); h == nil {
			t.Fatal("refused")
		}
	})
	if n > 3 {
		t.Errorf("%v allocations", n)
	}
}

// Handshakes whose header fields are lists are read as RFC 9110 has it: over several
// lines, with other members, in any case.
func TestHandshakeLists(t *testing.T) {
	u := newUpgrader(Config{Subprotocols: []string{"a", "b"}, Upgrade: func(*Request) (Handler, *Reject) { return discard{}, nil }})
	const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	const rest = "Sec-WebSocket-Version: 13\r\n" + key
	const up = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
	for _, c := range []struct {
		name, fields string
		status       int
		forwarded    string
		subprotocol  string
	}{
		{"two lines of Connection", "Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + rest, 101, "", ""},
		{"and the other way round", "Connection: Upgrade\r\nConnection: keep-alive\r\nUpgrade: websocket\r\n" + rest, 101, "", ""},
		{"one line of Connection", "connection: keep-alive,  UPGRADE ,\r\nUpgrade: WebSocket\r\n" + rest, 101, "", ""},
		{"other protocols to upgrade to", "Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n" + rest, 101, "", ""},
		{"on lines of their own", "Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n" + rest, 101, "", ""},
		{"a line that goes on in the next", "Connection: keep-alive,\r\n Upgrade\r\nUpgrade: websocket\r\n" + rest, 101, "", ""},
		{"no Upgrade in Connection", "Connection: keep-alive, upgraded\r\nUpgrade: websocket\r\n" + rest, 400, "", ""},
		{"no websocket in Upgrade", "Connection: Upgrade\r\nUpgrade: h2c, websockets\r\n" + rest, 400, "", ""},
		{"no Connection", "Upgrade: websocket\r\n" + rest, 400, "", ""},
		{"X-Forwarded-For on two lines", up + rest + "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-For: 10.0.0.1\r\n", 101, "203.0.113.7,10.0.0.1", ""},
		{"the second empty", up + rest + "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-For:\r\n", 101, "203.0.113.7,", ""},
		{"subprotocols", up + rest + "Sec-WebSocket-Protocol: c\r\nSec-WebSocket-Protocol: b , ,a\r\n", 101, "", "a"},
		{"none of ours", up + rest + "Sec-WebSocket-Protocol: c,\r\n", 101, "", ""},
		{"two keys", up + rest + key, 400, "", ""},
		{"white space before a colon", up + rest + "Origin : http://example.org\r\n", 400, "", ""},
		{"a body by one of two lengths", up + rest + "Content-Length: 0\r\nContent-Length: 5\r\n", 400, "", ""},
		{"no body by two lengths", up + rest + "Content-Length: 0\r\nContent-Length: 0\r\n", 101, "", ""},
		{"two versions", up + rest + "Sec-WebSocket-Version: 13\r\n", 400, "", ""},
		{"two hosts", up + rest + "Host: y\r\n", 400, "", ""},
		{"two origins", up + rest + "Origin: http://x\r\nOrigin: http://y\r\n", 400, "", ""},
		{"another version", up + "Sec-WebSocket-Version: 8\r\n" + key, 426, "", ""},
		{"no version", up + key, 400, "", ""},
		{"no key", up + "Sec-WebSocket-Version: 13\r\n", 400, "", ""},
		{"a key of 15 bytes", up + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n", 400, "", ""},
		{"a body", up + rest + "Content-Length: 5\r\n", 400, "", ""},
		{"an empty body", up + rest + "Content-Length: 0\r\n", 101, "", ""},
		{"chunks", up + rest + "Transfer-Encoding: chunked\r\n", 400, "", ""},
		{"a field without a name", up + rest + ": x\r\n", 400, "", ""},
		{"no field", up + rest + "x\r\n", 400, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, req, _ := u.try("GET /ws HTTP/1.1\r\nHost: x\r\n" + c.fields + "\r\n")
			if resp.StatusCode != c.status || c.status == 426 && resp.Header.Get("Sec-WebSocket-Version") != "13" {
				t.Fatalf("answered %s %v, want %d", resp.Status, resp.Header, c.status)
			}
			if c.status != 101 {
				return
			}
			if got := resp.Header.Get("Sec-WebSocket-Accept"); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
				t.Errorf("accept is %q", got)
			}
			if got := resp.Header.Get("Sec-WebSocket-Protocol"); got != c.subprotocol || req.Subprotocol != got || req.Forwarded != c.forwarded {
				t.Errorf("subprotocol %q, forwarded %q", got, req.Forwarded)
			}
		})
	}
	if resp, _, _ := u.try("GET /ws HTTP/1.1\r\n" + up + rest + "\r\n"); resp.StatusCode != 400 {
		t.Errorf("without Host: %s", resp.Status)
	}
	if resp, req, _ := u.try("GET http://Y:1/ws?q HTTP/1.1\nHost: x\n" + up + rest + "\n"); resp.StatusCode != 101 || req.Host != "Y:1" || req.Query != "q" {
		t.Errorf("a whole URL, and lines that end with LF alone: %s, %+v", resp.Status, req)
	}
}

// Offers of permessage-deflate: one that cannot be accepted is declined, and one behind it
// is taken (RFC 7692, section 5).
func TestDeflateOffers(t *testing.T) {
	u := newUpgrader(Config{Compression: true, Upgrade: func(*Request) (Handler, *Reject) { return discard{}, nil }})
	const ours = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	for _, c := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"none", nil, ""},
		{"an empty line", []string{""}, ""},
		{"bare", []string{"permessage-deflate"}, ours},
		{"in capitals", []string{"Permessage-Deflate"}, ours},
		{"as browsers have it", []string{"permessage-deflate; client_max_window_bits"}, ours},
		{"everything", []string{"permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=9"}, ours},
		{"a quoted value", []string{`permessage-deflate; client_max_window_bits="1\0"`}, ours},
		{"the largest window", []string{"permessage-deflate; server_max_window_bits=15"}, ours + "; server_max_window_bits=15"},
		{"a smaller one", []string{"permessage-deflate; server_max_window_bits=14"}, ""},
		{"a smaller one, or any", []string{"permessage-deflate; server_max_window_bits=10, permessage-deflate"}, ours},
		{"out of range", []string{"permessage-deflate; client_max_window_bits=99"}, ""},
		{"out of range, or not", []string{"permessage-deflate; client_max_window_bits=99, permessage-deflate; client_max_window_bits"}, ours},
		{"on the next line", []string{"permessage-deflate; client_max_window_bits=7", "permessage-deflate"}, ours},
		{"a leading zero", []string{"permessage-deflate; client_max_window_bits=08"}, ""},
		{"no value", []string{"permessage-deflate; server_max_window_bits"}, ""},
		{"an empty value", []string{`permessage-deflate; client_max_window_bits=""`}, ""},
		{"a value too many", []string{"permessage-deflate; server_no_context_takeover=1"}, ""},
		{"unknown parameter", []string{"permessage-deflate; colour=red, permessage-deflate"}, ours},
		{"a parameter twice", []string{"permessage-deflate; client_max_window_bits; client_max_window_bits"}, ""},
		{"twice, then once", []string{"permessage-deflate; client_no_context_takeover; client_no_context_takeover, permessage-deflate"}, ours},
		{"malformed, then good", []string{"permessage-deflate;, permessage-deflate"}, ours},
		{"other extensions", []string{"x-webkit-deflate-frame, mux; max-channels=4", `foo="a, permessage-deflate", permessage-deflate`}, ours},
		{"others only", []string{"x-webkit-deflate-frame; no_context_takeover"}, ""},
		{"quotes that do not end", []string{`foo; bar="`, "permessage-deflate"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var fields strings.Builder
			for _, l := range c.lines {
				fmt.Fprintf(&fields, "Sec-WebSocket-Extensions: %s\r\n", l)
			}
			resp, _, conn := u.try("GET /ws HTTP/1.1\r\nHost: x\r\n" + bareFields + fields.String() + "\r\n")
			if got := resp.Header.Get("Sec-WebSocket-Extensions"); resp.StatusCode != 101 || got != c.want || conn.Deflate() != (c.want != "") {
				t.Errorf("answered %s with %q (deflate: %v), want 101 with %q", resp.Status, got, conn.Deflate(), c.want)
			}
		})
	}
}

// FuzzHandshake answers any request head. Whatever it says, the answer is an
// HTTP response, and 101 if and only if there is a Handler.
func FuzzHandshake(f *testing.F) {
	const upgrade = "Host: x\r\n" + bareFields
	f.Add(bareRequest)
	for _, head := range []string{
		"GET /ws?x=%zz HTTP/1.1\r\n" + upgrade + "Sec-WebSocket-Protocol: b, a\r\nSec-WebSocket-Protocol: c\r\nOrigin: https://x\r\n",
		"GET /ws HTTP/1.1\r\n" + upgrade + "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=99, permessage-deflate\r\n",
		"GET /ws HTTP/1.1\r\n" + upgrade + "X-Forwarded-For: 1.1.1.1, ,2.2.2.2\r\n",
		"POST /ws HTTP/1.0\r\n" + upgrade, "GET http://h/ws HTTP/9.9\r\n", "GET  HTTP/1.1\r\n: :\r\n", "\r\n", "",
	} {
		f.Add([]byte(head + "\r\n"))
	}
	u := newUpgrader(Config{Subprotocols: []string{"a", "b"}, Compression: true, Upgrade: func(r *Request) (Handler, *Reject) {
		if strings.Contains(r.Query, "no") {
			return nil, &Reject{Status: 403, Reason: "no"}
		}
		return discard{}, nil
	}})
	f.Fuzz(func(t *testing.T, head []byte) {
		end := headEnd(head, 0)
		for known := range len(head) {
			if again := headEnd(head[:known+1], known); again != 0 && again != end {
				t.Fatalf("the head ends at %d, and byte by byte at %d", end, again)
			} else if again != 0 {
				break
			}
		}
		if end == 0 || end > minHead {
			return // it is not answered yet, or is too long
		}
		response, h := u.answerHead(&Conn{loop: u.loop, fd: -1}, head[:end])
		status, found := strings.CutPrefix(string(response), "HTTP/1.1 ")
		if !found || strings.HasPrefix(status, "101") != (h != nil) {
			t.Fatalf("answered %q with handler %v", response, h)
		}
	})
}

func BenchmarkHandshake(b *testing.B) {
	u := newUpgrader(Config{Upgrade: func(*Request) (Handler, *Reject) { return discard{}, nil }})
	head := []byte("GET /ws HTTP/1.1\r\nHost: localhost:8000\r\n" + bareFields +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n" +
		"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\nCache-Control: no-cache\r\nPragma: no-cache\r\n" +
		"Origin: http://localhost:8000\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n")
	c := &Conn{loop: u.loop, fd: -1}
	b.ReportAllocs()
	for b.Loop() {
		if _, h := u.answerHead(c, head); h == nil {
			b.Fatal("refused")
		}
	}
}
