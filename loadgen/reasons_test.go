package main

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/hubbub-chat/hubbub/netpoll"
	"github.com/hubbub-chat/hubbub/schema"
)

// refuser answers every connection with the same bytes, and ends it.
func refuser(t *testing.T, answer string, reset bool) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() { // ends with the listener
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			if reset {
				_ = conn.(*net.TCPConn).SetLinger(0)
			} else {
				_, _ = io.ReadAtLeast(conn, make([]byte, 4096), 50) // the request
				_, _ = io.WriteString(conn, answer)
			}
			_ = conn.Close()
		}
	}()
	return "ws://" + ln.Addr().String() + "/"
}

// TestReasons: why connections do not come in, in the words of the kernel or the server.
func TestReasons(t *testing.T) {
	t.Parallel()
	body := func(text string) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(text), text) }
	for _, c := range []struct {
		name, url, want string
	}{
		{"nobody listens", "ws://127.0.0.1:1/", "connect: connection refused"},
		{"full", refuser(t, "HTTP/1.1 503 Service Unavailable\r\n"+body("full\n"), false), "HTTP 503: full"},
		{"a status alone", refuser(t, "HTTP/1.1 404 Not Found\r\n\r\n", false), "HTTP 404: Not Found"},
		{"a status without words", refuser(t, "HTTP/1.1 429 \r\n\r\n", false), "HTTP 429: Too Many Requests"},
		{"a proxy's page", refuser(t, "HTTP/1.1 502 Bad Gateway\r\n"+body("<html>\r\n<head><title>502 Bad Gateway</title></head>"), false), "HTTP 502: 502 Bad Gateway"},
		{"control characters", refuser(t, "HTTP/1.1 403 Forbidden\r\n"+body("no\x1b[2J, never"), false), "HTTP 403: no[2J, never"},
		{"closed", refuser(t, "", false), "closed without an answer to the handshake"},
		{"closed within an answer", refuser(t, "HTTP/1.1 503 Busy\r\nX: y", false), "HTTP 503: Busy"},
		{"reset", refuser(t, "", true), "connection reset by peer"},
		{"another protocol", refuser(t, "220 mail.example ESMTP\r\n", false), "is not HTTP"},
		{"TLS", refuser(t, "\x15\x03\x01\x00\x02\x02\x46", false), "is TLS"},
		{"another's handshake", refuser(t, "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n\r\n", false), "answer to another handshake"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			code, r, stdout, _ := loadgen(t, t.Context(), shortRun(c.url)...)
			conns, others := uint64(0), "" // a reset is noticed by the connect or by a read
			for reason, n := range r.Connections.Reasons {
				if !strings.Contains(reason, c.want) {
					others += fmt.Sprintf("%d × %s\n", n, reason)
					continue
				}
				conns += n
				if said := fmt.Sprintf("%d × %s", n, reason); !strings.Contains(stdout, said) {
					t.Errorf("the table does not say %q:\n%s", said, stdout)
				}
			}
			if code != exitFaults || conns != 9 || others != "" {
				t.Fatalf("exit code %d, %d connections %q, and\n%s", code, conns, c.want, others)
			}
			if !strings.Contains(strings.Join(r.Faults, ""), c.want) {
				t.Errorf("the faults do not say %q: %v", c.want, r.Faults)
			}
		})
	}
	// What a server that lets them in says later.
	url, _ := startChat(t, wrong{
		answer: func(n int) *schema.Error {
			if n == 60 { // after the cuts, by somebody who is there
				return schema.ErrTooManyRequests
			}
			return nil
		},
		also: func(_ *chat, r *chatRoom, n int) {
			if n == 30 {
				r.members[3].conn.Close(netpoll.Close(schema.CloseSlow))
				r.members[4].conn.Drop()
			}
		}}, false)
	_, r, _, _ := loadgen(t, t.Context(), shortRun(url)...)
	slow := fmt.Sprintf("close %d: %s", schema.CloseSlow.Code, schema.CloseSlow.Reason)
	refused := fmt.Sprintf("error %d: %s", schema.ErrTooManyRequests.Code, schema.ErrTooManyRequests.Message)
	cut := uint64(0) // by a FIN or a reset, whichever is noticed
	for reason, n := range r.Connections.Reasons {
		if strings.HasPrefix(reason, "cut off: ") {
			cut += n
		}
	}
	if got := r.Connections.Reasons; got[slow] != 1 || got[refused] != 1 || cut != 1 {
		t.Errorf("%v", got)
	}
	many := reasons{}
	for i := range 1000 {
		many.note(fmt.Sprint(i))
	}
	if len(many) != maxReasons+1 || many[otherReasons] != 1000-maxReasons {
		t.Errorf("%d reasons are kept of 1000, %d others", len(many), many[otherReasons])
	}
}
