package main

import (
	"bytes"
	"context"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/sessions"
)

// What a node does of itself when time passes, with times as short as its
// clock of seconds lets them be, and a slow machine where a client is to be in
// time: on the second node. The cases wait together.
func TestDeadlines(t *testing.T) {
	hasty := start(t, func(o *options) {
		o.sessions = func(c *sessions.Config) {
			c.Ping, c.Pong, c.ConnectTimeout = 3*time.Second, time.Second, 3*time.Second
		}
	})
	h := start(t, func(o *options) {
		o.sessions = func(c *sessions.Config) { c.Ping, c.Pong = 5*time.Second, 4*time.Second }
	})
	f := h.flood("busy", 50, 10*time.Millisecond)
	t.Cleanup(f.stop)
	group := func(name string, test func(*testing.T, schema.Codec)) {
		for _, codec := range codecs {
			t.Run(name+" in "+codec.String(), func(t *testing.T) {
				t.Parallel()
				test(t, codec)
			})
		}
	}
	group("stale", func(t *testing.T, codec schema.Codec) {
		c := hasty.dial(codec)
		c.t = t
		c.expectClose(3502)
	})
	group("stale, though it pongs", func(t *testing.T, codec schema.Codec) {
		c := hasty.dial(codec)
		c.t = t
		c.sendRaw(codec.Binary(), string(codec.AppendPing(nil)))
		c.expectClose(3502)
	})
	group("no pong", func(t *testing.T, codec schema.Codec) {
		c := hasty.client(codec)
		c.t, c.mute = t, true
		c.expectClose(3012)
		if c.pings != 1 {
			t.Errorf("%d pings before the end, want 1", c.pings)
		}
	})
	group("no pong to a WebSocket ping", func(t *testing.T, codec schema.Codec) {
		c := hasty.dial(codec, "cf_protocol="+codec.String(), "cf_ws_frame_ping_pong=true")
		c.t, c.mute = t, true
		c.connect()
		c.expectClose(3012)
	})
	group("pings", func(t *testing.T, codec schema.Codec) {
		c := h.client(codec)
		c.t = t
		expectPings(t, c, 2)
	})
	group("WebSocket pings", func(t *testing.T, codec schema.Codec) {
		c := h.dial(codec, "cf_protocol="+codec.String(), "cf_ws_frame_ping_pong=true")
		c.t = t
		if r := c.connect(); r.Pong {
			t.Error("the reply asks for the protocol's pongs")
		}
		expectPings(t, c, 2)
	})
	group("pings on a busy connection", func(t *testing.T, codec schema.Codec) {
		c := h.client(codec)
		c.t = t
		c.subscribe("busy")
		expectPings(t, c, 2)
	})
	group("silent after a close", func(t *testing.T, codec schema.Codec) {
		c := h.client(codec)
		c.t = t
		c.sendRaw(!codec.Binary(), "x")
		// A close frame comes, is not answered, and the connection ends.
		b, err := io.ReadAll(c.r)
		if err != nil || !bytes.HasPrefix(b, []byte{0x80 | byte(ws.OpClose)}) {
			t.Errorf("%q, %v; want a close frame and the end", b, err)
		}
	})
	group("any sign of life is a pong", func(t *testing.T, codec schema.Codec) {
		c := h.client(codec)
		c.t, c.mute = t, true
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(300 * time.Millisecond) {
			c.must(c.writeFrame(ws.OpPong, nil))
		}
		for {
			_ = c.conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			if _, _, err := c.next(); err != nil {
				if _, ended := err.(closed); ended { //nolint:errorlint // never wrapped
					t.Fatal(err)
				}
				return
			}
		}
	})
}

// expectPings reads until n pings have come. Others may come between.
func expectPings(t *testing.T, c *client, n int) {
	t.Helper()
	for c.pings < n {
		if _, _, err := c.next(); err != nil {
			t.Fatalf("after %d pings: %v", c.pings, err)
		}
	}
}

// heldReads holds back what is read from the store until it is let go.
type heldReads struct {
	fanout.Reads
	free chan struct{} // closed when reads go on
	jobs atomic.Int32  // held, or under way
}

func (r *heldReads) Do(job func(context.Context)) bool {
	r.jobs.Add(1)
	taken := r.Reads.Do(func(ctx context.Context) {
		defer r.jobs.Add(-1)
		<-r.free
		job(context.WithoutCancel(ctx)) // its time may be up
	})
	if !taken {
		r.jobs.Add(-1)
	}
	return taken
}

// What takes too long is answered with a temporary error, and the client may
// try again at once.
func TestSlowStore(t *testing.T) {
	held := &heldReads{free: make(chan struct{})}
	h := start(t, func(o *options) {
		o.sessions = func(c *sessions.Config) {
			held.Reads = c.Reads
			c.Answer, c.Reads = time.Second, held
		}
	})
	free := sync.OnceFunc(func() { close(held.free) })
	t.Cleanup(free)
	room := roomOf(t)
	c := h.client(schema.JSON)
	c.publishAll(room, numbered("p", 150, 20))
	c.fails(&command{History: &historyRequest{Channel: room, Limit: 120}}, 100)
	c.fails(recoverFrom(room, 0, ""), 100)
	c.subscribe(room) // and not: already subscribed
	c.publish(room, `"x"`)
	if p := c.push(room); string(p.Data) != `"x"` {
		t.Errorf("received %s", p.Data)
	}
	free()
	eventually(t, "all has been read", func() bool { return held.jobs.Load() == 0 }) // which reaches nobody now
	c.ok(&command{Ping: &pingRequest{}})
	if len(c.pushes) > 0 {
		t.Errorf("received %v", c.pushes)
	}
	c.ok(&command{Unsubscribe: &unsubscribeRequest{Channel: room}})
}
