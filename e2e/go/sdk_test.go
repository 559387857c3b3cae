package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/centrifugal/centrifuge-go"
)

func numbered(from, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`{"n":%d}`, from+i)
	}
	return list
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %d messages %.300q, want %d %.300q", what, len(got), got, len(want), want)
	}
}

func TestChat(t *testing.T) {
	s := startServer(t)
	eachTransport(t, func(t *testing.T, dial func(string) *centrifuge.Client) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		room := "chat:" + t.Name()
		a, b := dial(s.url()), dial(s.url())
		boxA, boxB := subscribe(t, a, room), subscribe(t, b, room)
		for _, box := range []*inbox{boxA, boxB} {
			e := next(t, "subscribed", box.subscribed)
			if !e.Recoverable || !e.Positioned || e.WasRecovering || e.StreamPosition == nil || e.StreamPosition.Epoch == "" || e.StreamPosition.Offset != 0 {
				t.Errorf("subscribed with %+v at %+v", e, e.StreamPosition)
			}
		}
		want := numbered(0, 120)
		for i, data := range want {
			publish(t, []*centrifuge.Client{a, b}[i%2], room, data)
		}
		gotA, _ := boxA.take(len(want), 0)
		gotB, _ := boxB.take(len(want), 0)
		equal(t, "the first client", gotA, want)
		equal(t, "the second client", gotB, want)

		t.Run("history", func(t *testing.T) { history(t, boxA.sub, want) })
		t.Run("presence", func(t *testing.T) {
			p, err := boxA.sub.Presence(ctx)
			if err != nil || len(p.Clients) != 2 {
				t.Fatalf("%+v, %v; want 2 clients", p, err)
			}
			for id, info := range p.Clients {
				if info.Client != id || info.User == "" {
					t.Errorf("%s is %+v", id, info)
				}
			}
			stats, err := b.PresenceStats(ctx, room)
			if err != nil || stats.NumClients != 2 || stats.NumUsers != 2 {
				t.Errorf("%+v, %v; want 2 and 2", stats, err)
			}
		})
		t.Run("errors", func(t *testing.T) {
			_, err := a.RPC(ctx, "no.such", []byte("{}"))
			if e, ok := err.(*centrifuge.Error); !ok || e.Code != 108 || e.Message == "" { //nolint:errorlint // as the SDK returns it
				t.Errorf("an unknown RPC: %v, want error 108", err)
			}
			_, err = a.Publish(ctx, room, []byte(`{"type":"edit"}`))
			if e, ok := err.(*centrifuge.Error); !ok || e.Code != 107 { //nolint:errorlint // as the SDK returns it
				t.Errorf("a reserved type: %v, want error 107", err)
			}
			if err := a.Send(ctx, []byte(`{}`)); err != nil {
				t.Error(err)
			}
		})
		t.Run("unsubscribe", func(t *testing.T) {
			if err := boxB.sub.Unsubscribe(); err != nil {
				t.Fatal(err)
			}
			publish(t, a, room, `"after"`)
			boxA.take(1, 0)
			if err := boxB.sub.Subscribe(); err != nil { // it knows its position: it recovers
				t.Fatal(err)
			}
			next(t, "subscribed again", boxB.subscribed)
			publish(t, a, room, `"later"`)
			got, _ := boxB.take(1, 0)
			if got[0] == `"after"` {
				got, _ = boxB.take(1, 0)
			}
			equal(t, "after subscribing again", got, []string{`"later"`})
		})
	})
}

func history(t *testing.T, sub *centrifuge.Subscription, want []string) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, reverse := range []bool{false, true} {
		var got []string
		var since *centrifuge.StreamPosition
		for {
			r, err := sub.History(ctx, centrifuge.WithHistoryLimit(50), centrifuge.WithHistoryReverse(reverse), centrifuge.WithHistorySince(since))
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Publications) == 0 {
				break
			}
			for _, p := range r.Publications {
				got = append(got, string(p.Data))
				since = &centrifuge.StreamPosition{Offset: p.Offset, Epoch: r.Epoch}
			}
		}
		if reverse {
			slices.Reverse(got)
		}
		equal(t, fmt.Sprint("history, reverse ", reverse), got, want)
	}
	r, err := sub.History(ctx)
	if err != nil || len(r.Publications) != 0 || r.Offset == 0 || r.Epoch == "" {
		t.Errorf("history without a limit: %+v, %v; want the position alone", r, err)
	}
}

// A member that was cut off comes back by itself and has missed nothing.
func TestRecoveryAfterCut(t *testing.T) {
	s := startServer(t)
	eachTransport(t, func(t *testing.T, dial func(string) *centrifuge.Client) {
		room := "cut:" + t.Name()
		member := dial(s.url())
		direct := dial("ws://" + s.proxy.target + "/connection/websocket")
		box := subscribe(t, member, room)
		next(t, "subscribed", box.subscribed)
		var last uint64
		sent := 0
		for _, missed := range []int{0, 1, 90, 400} { // in memory and in the store
			want := numbered(sent, 3+missed)
			for _, data := range want[:3] {
				publish(t, direct, room, data)
			}
			got, offset := box.take(3, last)
			s.proxy.cut()
			for _, data := range want[3:] {
				publish(t, direct, room, data)
			}
			s.proxy.open()
			e := next(t, "subscribed again", box.subscribed)
			if !e.WasRecovering || !e.Recovered {
				t.Errorf("%d missed: subscribed with %+v", missed, e)
			}
			more, offset := box.take(missed, offset)
			equal(t, fmt.Sprint(missed, " missed"), append(got, more...), want)
			sent, last = sent+len(want), offset
		}
	})
}

// The server is killed and started again on its data: the SDK comes back, and
// what was acknowledged arrives exactly once, in one order for all.
func TestRecoveryAfterKill9(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	eachTransport(t, func(t *testing.T, dial func(string) *centrifuge.Client) {
		s := startServer(t)
		room := "kill:" + t.Name()
		members := []*inbox{subscribe(t, dial(s.url()), room), subscribe(t, dial(s.url()), room)}
		epoch := ""
		for _, m := range members {
			epoch = next(t, "subscribed", m.subscribed).StreamPosition.Epoch
		}
		quit := make(chan struct{})
		var publishers sync.WaitGroup
		acked := make([][]string, 3)
		for i := range acked {
			c := dial(s.url())
			publishers.Go(func() { acked[i] = publishUntil(c, quit, room, i) }) // stopped by quit
		}
		for range 3 {
			time.Sleep(time.Duration(50+random.IntN(200)) * time.Millisecond)
			s.kill()
			s.proxy.cut()
			s.run()
			for _, m := range members {
				e := next(t, "subscribed again", m.subscribed)
				if !e.WasRecovering || !e.Recovered || e.StreamPosition == nil || e.StreamPosition.Epoch != epoch {
					t.Errorf("after the kill: subscribed with %+v at %+v", e, e.StreamPosition)
				}
			}
		}
		close(quit)
		publishers.Wait()
		end := dial(s.url())
		publish(t, end, room, `"end"`)
		var seen [2][]string
		for i, m := range members {
			var last uint64
			for done := false; !done; {
				var data []string
				data, last = m.take(1, last)
				seen[i] = append(seen[i], data...)
				done = data[0] == `"end"`
			}
		}
		equal(t, "the two members", seen[0], seen[1])
		times := make(map[string]int)
		for _, data := range seen[0] {
			times[data]++
		}
		n := 0
		for _, list := range acked {
			for _, data := range list {
				n++
				if times[data] != 1 {
					t.Errorf("%s was acknowledged and seen %d times", data, times[data])
				}
			}
		}
		if n == 0 {
			t.Error("nothing was acknowledged")
		}
		t.Logf("%d acknowledged, %d seen", n, len(seen[0]))
		s.stop()
	})
}

// publishUntil publishes each message once, and returns those that were
// acknowledged.
func publishUntil(c *centrifuge.Client, quit <-chan struct{}, room string, who int) (acked []string) {
	for i := 0; ; i++ {
		select {
		case <-quit:
			return acked
		default:
		}
		data := fmt.Sprintf(`{"from":%d,"n":%d}`, who, i)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if _, err := c.Publish(ctx, room, []byte(data)); err == nil {
			acked = append(acked, data)
		}
		cancel()
	}
}

// A server that stops tells its clients, and they come to the next one.
func TestRestart(t *testing.T) {
	s := startServer(t)
	eachTransport(t, func(t *testing.T, dial func(string) *centrifuge.Client) {
		room := "restart:" + t.Name()
		c := dial(s.url())
		why := make(chan uint32, 100)
		c.OnConnecting(func(e centrifuge.ConnectingEvent) { why <- e.Code })
		box := subscribe(t, c, room)
		next(t, "subscribed", box.subscribed)
		publish(t, c, room, `1`)
		_, last := box.take(1, 0)
		for len(why) > 0 {
			<-why
		}
		s.stop()
		if code := next(t, "the client hears of the stop", why); code != 3001 {
			t.Errorf("the client was closed with %d, want 3001", code)
		}
		s.run()
		if e := next(t, "subscribed again", box.subscribed); !e.Recovered {
			t.Errorf("subscribed with %+v", e)
		}
		publish(t, c, room, `2`)
		got, _ := box.take(1, last)
		equal(t, "after the restart", got, []string{`2`})
	})
}
