package netpoll

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
)

// FuzzHandshake answers any request head. Whatever it says, the answer is an
// HTTP response, and 101 if and only if there is a Handler; and a path that
// was recognised does not change with what comes behind it.
func FuzzHandshake(f *testing.F) {
	const upgrade = "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	f.Add(bareRequest)
	for _, head := range []string{
		"GET /ws?x=%zz HTTP/1.1\r\n" + upgrade + "Sec-WebSocket-Protocol: b, a\r\nSec-WebSocket-Protocol: c\r\nOrigin: https://x\r\n",
		"GET /ws HTTP/1.1\r\n" + upgrade + "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=99, permessage-deflate\r\n",
		"GET /ws HTTP/1.1\r\n" + upgrade + "X-Forwarded-For: 1.1.1.1, ,2.2.2.2\r\n",
		"POST /ws HTTP/1.0\r\n" + upgrade, "GET http://h/ws HTTP/9.9\r\n", "GET  HTTP/1.1\r\n: :\r\n", "\r\n", "",
	} {
		f.Add([]byte(head + "\r\n"))
	}
	e := &Engine{}
	e.cfg = Config{Subprotocols: []string{"a", "b"}, Compression: true, Upgrade: func(r *Request) (Handler, *Reject) {
		if bytes.Contains(r.Query, []byte("no")) {
			return nil, &Reject{Status: 403, Reason: "no"}
		}
		return discard{}, nil
	}}
	e.cfg.setDefaults()
	l := &Loop{engine: e}
	l.upgrade.init(l)
	f.Fuzz(func(t *testing.T, head []byte) {
		if path, complete := requestPath(head); complete {
			if again, still := requestPath(append(bytes.Clone(head), "x /y\r\n\r\n"...)); !still || !bytes.Equal(again, path) {
				t.Fatalf("path %q, and with more behind it %q, %v", path, again, still)
			}
		}
		end := bytes.Index(head, []byte("\r\n\r\n"))
		if end < 0 || len(head) > maxHead {
			return // it is not answered yet, or is too long
		}
		response, h := l.upgrade.answer(&Conn{loop: l, fd: -1}, head[:end+4], netip.AddrPort{})
		status, found := strings.CutPrefix(string(response), "HTTP/1.1 ")
		if !found || strings.HasPrefix(status, "101") != (h != nil) {
			t.Fatalf("answered %q with handler %v", response, h)
		}
	})
}
