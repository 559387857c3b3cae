package hostile

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/blocking"
)

// asExpected is how a conversation ends of which every answer was a right one.
const asExpected Ending = "answered as it should be"

// answerWait is how long an answer may take: a busy machine is no fault.
const answerWait = 20 * time.Second

// conversation is one thing that a connection says, and what it is answered.
type conversation interface {
	have(context.Context, *attacker) (got Ending, name string)
}

// conversations is an attack that has all of them, again and again. One that has begun
// is brought to its end, and the attack goes on until each has been had.
func conversations[C conversation](name, help string, conns int, all []C) Attack {
	var next atomic.Int64
	act := func(ctx context.Context, t *attacker) Ending {
		c := all[int(next.Add(1)-1)%len(all)]
		t.sent.Add(1)
		got, name := c.have(context.WithoutCancel(ctx), t)
		if got == asExpected || got == NotLetIn {
			return got
		}
		return Ending(fmt.Sprintf("%s: %s", name, got))
	}
	return Attack{Name: name, Help: help, Conns: conns, Pause: soon, Wants: len(all), Ends: []Ending{asExpected}, act: act}
}

// request is one request head, and the answers to it that are right.
type request struct {
	name   string
	line   func(path string) string // method, target, version
	fields string                   // header lines beside Host
	want   []Ending
}

// upgrade are the fields of a handshake, but for Connection and Upgrade; plainUpgrade
// those too.
const (
	upgrade      = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	plainUpgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n" + upgrade
)

func get(target func(path string) string) func(string) string { return method("GET", target) }

func method(m string, target func(path string) string) func(string) string {
	return func(path string) string { return m + " " + target(path) + " HTTP/1.1" }
}

func itself(path string) string { return path }

// encoded is the path with a letter of it percent-encoded, which names the same.
func encoded(path string) string {
	i := strings.LastIndexByte(path, '/') + 1
	if i >= len(path) {
		return path
	}
	return fmt.Sprintf("%s%%%02X%s", path[:i], path[i], path[i+1:])
}

func absolute(scheme string) func(string) string {
	return func(path string) string { return scheme + "://example.org" + path }
}

// requests are odd ones, legal or not. Every one has one answer.
func requests() []request {
	yes, no := []Ending{answered}, []Ending{"HTTP 400", "HTTP 404", "HTTP 405", "HTTP 414", "HTTP 426", "HTTP 431", "HTTP 501", Hung, Reset}
	any := append(append(yes, no...), "HTTP 200", "HTTP 204", "HTTP 301", "HTTP 307", "HTTP 308")
	all := []request{
		{"a percent-encoded path", get(encoded), plainUpgrade, yes},
		{"a percent-encoded path without a handshake", get(encoded), "", no},
		{"two Connection lines", get(itself), "Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + upgrade, yes},
		{"two protocols to upgrade to", get(itself), "Connection: keep-alive, Upgrade\r\nUpgrade: h2c, websocket\r\n" + upgrade, yes},
		{"X-Forwarded-For on two lines", get(itself), "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-For:\r\n" + plainUpgrade, yes},
		{"two keys", get(itself), plainUpgrade + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", no},
		{"a path with dots", get(func(path string) string { return "/x/.." + path }), plainUpgrade, any},
		{"a path with a second slash", get(func(path string) string { return "/" + path }), plainUpgrade, any},
		{"a path that cannot be decoded", get(func(path string) string { return path + "%zz" }), plainUpgrade, no},
		{"OPTIONS *", method("OPTIONS", func(string) string { return "*" }), "", any},
		{"CONNECT", method("CONNECT", func(string) string { return "example.org:443" }), "", no},
	}
	for _, scheme := range []string{"http", "https", "ws", "wss", "HTTP"} {
		all = append(all, request{"a request line with a whole URL (" + scheme + ")", get(absolute(scheme)), plainUpgrade, yes},
			request{"a whole URL without a handshake (" + scheme + ")", get(absolute(scheme)), "", no})
	}
	for _, m := range []string{"get", "G3T", "POST", strings.Repeat("A", 5000)} {
		all = append(all, request{fmt.Sprintf("method %.8s of %d letters", m, len(m)), method(m, itself), plainUpgrade, no})
	}
	for _, offer := range []string{
		"permessage-deflate; client_max_window_bits=99", "permessage-deflate; server_max_window_bits=7", "permessage-deflate; unknown=1",
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover", "", "permessage-deflate; x, permessage-deflate",
		"permessage-deflate; client_max_window_bits=\"\\1\", x-unknown; a=b",
	} {
		all = append(all, request{fmt.Sprintf("offers %q", offer), get(itself), plainUpgrade + "Sec-WebSocket-Extensions: " + offer + "\r\n", yes})
	}
	return all
}

// have sends the request and waits for its answer. A handshake that is agreed to must
// be a WebSocket: a command is answered over it.
func (r request) have(ctx context.Context, t *attacker) (Ending, string) {
	d := blocking.Dial{Addr: t.target.Addr, Timeout: answerWait}
	c, err := d.TCP(ctx)
	if err != nil {
		return ending(ctx, err), r.name
	}
	defer c.Close() //nolint:errcheck // nothing is left to be done
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	host := t.target.Host
	if host == "" {
		host = t.target.Addr.String()
	}
	path := t.target.URI
	if u, err := url.ParseRequestURI(path); err == nil {
		path = u.Path
	}
	_ = c.SetDeadline(time.Now().Add(answerWait)) // a failure shows in what follows
	if _, err := fmt.Fprintf(c, "%s\r\nHost: %s\r\n%s\r\n", r.line(path), host, r.fields); err != nil {
		return r.judge(ending(ctx, err)), r.name
	}
	if err := c.ReadResponse(); err != nil {
		return r.judge(ending(ctx, err)), r.name
	}
	if err := c.Send(blocking.Text, []byte(`{"id":1,"connect":{}}`)); err != nil {
		return ending(ctx, err), r.name
	}
	if _, err := c.ReadMessage(); err != nil {
		return ending(ctx, err), r.name
	}
	return r.judge(answered), r.name
}

func (r *request) judge(got Ending) Ending {
	if slices.Contains(r.want, got) {
		return asExpected
	}
	return got
}
