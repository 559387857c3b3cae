package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/auth"
)

// withTokens lets users in beside guests' absence: with a key there are none.
func withTokens(o *options) { o.TokenKeys = []auth.KeySpec{testSecret} }

// user opens a connection with a token.
func (b *backend) user(codec schema.Codec, name string, more ...string) *client {
	b.t.Helper()
	token, err := makeToken(b.t, time.Now(), append([]string{"--token-key", testSecret, "--user", name, "--ttl", "1h"}, more...)...)
	if err != nil {
		b.t.Fatal(err)
	}
	c := b.h.dial(codec)
	c.id = c.ok(&protocol.Command{Connect: &protocol.ConnectRequest{Token: token}}).Connect.Client
	return c
}

func (c *client) nextPush() *protocol.Push {
	c.t.Helper()
	p, err := c.tryPush()
	c.must(err)
	return p
}

// What the API does is what clients see.
func TestAPISeen(t *testing.T) {
	bothCodecs(t, func(t *testing.T, codec schema.Codec) {
		config := filepath.Join(t.TempDir(), "rules.json")
		if err := os.WriteFile(config, []byte(`{"default":{"join_leave":true}}`), 0o600); err != nil {
			t.Fatal(err)
		}
		b := startAPI(t, withTokens, func(o *options) { o.Config = config })
		alice, bob := b.user(codec, "alice", "--info", `{"name":"Alice"}`), b.user(codec, "bob")
		bob.subscribe("room")
		for p := bob.nextPush(); p.Join == nil; p = bob.nextPush() { // its own
			t.Fatalf("%v, want a join", p)
		}

		b.ok("subscribe", `{"user":"alice","channel":"room"}`)
		if p := alice.nextPush(); p.Subscribe == nil || p.Channel != "room" || !p.Subscribe.Recoverable || p.Subscribe.Epoch == "" {
			t.Fatalf("%v, want a subscribe push", p)
		}
		for _, c := range []*client{alice, bob} {
			if p := c.nextPush(); p.Join == nil || p.Join.Info.User != "alice" || string(p.Join.Info.ConnInfo) != `{"name":"Alice"}` {
				t.Fatalf("%v, want alice's join", p)
			}
		}
		b.ok("subscribe", `{"user":"alice","channel":"room"}`) // nothing changes

		r := b.ok("publish", `{"channel":"room","data":{"text":"<hi>"},"tags":{"a":"b"}}`)
		for _, c := range []*client{alice, bob} {
			if pub := c.push("room"); float64(pub.Offset) != r["offset"] || string(pub.Data) != `{"text":"<hi>"}` || pub.Info != nil {
				t.Errorf("got %v, the API says %v", pub, r)
			}
		}
		b.checkPresence(alice, bob)

		b.ok("unsubscribe", `{"user":"alice","client":"another","channel":"room"}`) // not this one
		b.ok("unsubscribe", fmt.Sprintf(`{"user":"alice","client":%q,"channel":"room"}`, alice.id))
		if p := alice.nextPush(); p.Unsubscribe == nil || p.Unsubscribe.Code != 2000 || p.Unsubscribe.Reason == "" || p.Channel != "room" {
			t.Fatalf("%v, want an unsubscribe push with 2000", p)
		}
		if p := bob.nextPush(); p.Leave == nil || p.Leave.Info.User != "alice" {
			t.Fatalf("%v, want alice's leave", p)
		}

		b.ok("refresh", fmt.Sprintf(`{"user":"alice","expire_at":%d}`, time.Now().Add(time.Minute).Unix()))
		if p := alice.nextPush(); p.Refresh == nil || !p.Refresh.Expires || p.Refresh.Ttl < 55 || p.Refresh.Ttl > 60 {
			t.Fatalf("%v, want a refresh push", p)
		}
		b.ok("refresh", `{"user":"alice"}`)
		if p := alice.nextPush(); p.Refresh == nil || p.Refresh.Expires {
			t.Fatalf("%v, want a refresh push without end", p)
		}

		b.ok("disconnect", `{"user":"alice","disconnect":{"code":4501,"reason":"see you"}}`)
		if end := alice.expectClose(4501); end.reason != "see you" {
			t.Errorf("%v", end)
		}
		b.ok("refresh", `{"user":"bob","expired":true}`)
		bob.expectClose(3005)
		bob = b.user(codec, "bob")
		b.ok("disconnect", `{"user":"bob"}`)
		bob.expectClose(3503)
		bob = b.user(codec, "bob")
		b.ok("block_user", fmt.Sprintf(`{"user":"bob","expire_at":%d}`, time.Now().Add(time.Hour).Unix()))
		bob.expectClose(3507)
		b.ok("unblock_user", `{"user":"bob"}`)
		b.user(codec, "bob")
		b.fails("block_user", `{"user":""}`, 107)
		b.fails("block_user", `{"user":"bob","expire_at":-1}`, 107)
		b.fails("unblock_user", `{}`, 107)
	})
}

// checkPresence: the two are in the room, and counted wherever things are.
func (b *backend) checkPresence(alice, bob *client) {
	b.t.Helper()
	list := b.ok("presence", `{"channel":"room"}`)["presence"].(map[string]any)
	if s := fmt.Sprint(list[alice.id]); len(list) != 2 || list[bob.id] == nil || s != fmt.Sprintf("map[client:%s conn_info:map[name:Alice] user:alice]", alice.id) {
		b.t.Errorf("presence: %v", list)
	}
	if s := fmt.Sprint(b.ok("presence_stats", `{"channel":"room"}`)); s != "map[num_clients:2 num_users:2]" {
		b.t.Errorf("presence_stats: %s", s)
	}
	if s := fmt.Sprint(b.ok("presence", `{"channel":"empty"}`)); s != "map[presence:map[]]" {
		b.t.Errorf("presence: %s", s)
	}
	bob.subscribe("other")
	bob.nextPush() // its join
	for pattern, want := range map[string]string{
		``: "map[other:map[num_clients:1] room:map[num_clients:2]]", `r*m`: "map[room:map[num_clients:2]]", `x*`: "map[]",
	} {
		if s := fmt.Sprint(b.ok("channels", fmt.Sprintf(`{"pattern":%q}`, pattern))["channels"]); s != want {
			b.t.Errorf("channels %q: %s, want %s", pattern, s, want)
		}
	}
	again := b.user(bob.codec, "bob")
	node := b.ok("info", `{}`)["nodes"].([]any)[0].(map[string]any)
	for name, want := range map[string]any{"num_clients": 3.0, "num_users": 2.0, "num_subs": 3.0, "num_channels": 2.0, "version": version} {
		if node[name] != want {
			b.t.Errorf("info: %s is %v, want %v", name, node[name], want)
		}
	}
	again.cut()
	bob.ok(&protocol.Command{Unsubscribe: &protocol.UnsubscribeRequest{Channel: "other"}})
	eventually(b.t, "the empty room is not listed", func() bool { return len(b.ok("channels", `{}`)["channels"].(map[string]any)) == 1 })
}

// A guest is named like a user.
func TestAPIGuest(t *testing.T) {
	b := startAPI(t)
	guest, other := b.h.client(schema.JSON), b.h.client(schema.JSON)
	b.ok("disconnect", fmt.Sprintf(`{"user":"guest-%s"}`, guest.id))
	guest.expectClose(3503)
	other.subscribe("a")
}

// What is not kept is delivered, and only that.
func TestAPISkipHistory(t *testing.T) {
	b := startAPI(t)
	c := b.h.dial(schema.JSON)
	c.connect()
	c.subscribe("a")
	if r := b.ok("publish", `{"channel":"a","data":{"typing":true},"skip_history":true}`); len(r) != 0 {
		t.Errorf("%v", r)
	}
	for { // the client wants an offset of every publication, so read as it came
		if _, err := c.readFrame(); err != nil {
			t.Fatal(err)
		}
		if s := string(c.rest[0]); strings.Contains(s, "pub") {
			if s != `{"push":{"channel":"a","pub":{"data":{"typing":true}}}}` {
				t.Errorf("got %s", s)
			}
			break
		}
	}
	if r := b.ok("history", `{"channel":"a","limit":9}`); r["offset"] != 0.0 {
		t.Errorf("it was kept: %v", r)
	}
	b.h.ledger = newLedger()
}

// Who is taken out of a channel while its token's connect is not yet answered
// is not told that it is in it.
func TestAPIUnsubscribeConnecting(t *testing.T) {
	b := startAPI(t, withTokens)
	bob := b.user(schema.JSON, "bob")
	bob.subscribe("known") // its end is in memory: alice is in at once
	release, held := make(chan struct{}), make(chan struct{}, 4)
	for range cap(held) { // all readers, so that the other channels stay unknown
		if !b.h.node.reads.Do(func(context.Context) { held <- struct{}{}; <-release }) {
			t.Fatal("the readers are busy")
		}
	}
	for range cap(held) {
		<-held
	}
	token, err := makeToken(t, time.Now(), "--token-key", testSecret, "--user", "alice", "--channels", "known,unknown,other")
	if err != nil {
		t.Fatal(err)
	}
	alice := b.h.dial(schema.JSON)
	connect := &protocol.Command{Connect: &protocol.ConnectRequest{Token: token}}
	alice.send(connect)
	eventually(t, "alice is in the room", func() bool {
		return len(b.ok("presence", `{"channel":"known"}`)["presence"].(map[string]any)) == 2
	})
	b.ok("unsubscribe", `{"user":"alice","channel":"known"}`)
	b.ok("unsubscribe", `{"user":"alice","channel":"unknown"}`)
	close(release)
	r, err := alice.tryReply(connect.Id)
	if err != nil || r.Connect == nil || len(r.Connect.Subs) != 1 || r.Connect.Subs["other"] == nil || len(alice.pushes) > 0 {
		t.Fatalf("%v, %v, %v; want to be in other alone", r, alice.pushes, err)
	}
	b.ok("publish", `{"channel":"known","data":1}`)
	b.ok("publish", `{"channel":"unknown","data":2}`)
	b.ok("publish", `{"channel":"other","data":3}`)
	if p := alice.push("other"); string(p.Data) != "3" {
		t.Errorf("got %v", p)
	}
}

// A removed member receives nothing afterwards: while a room is published to
// at full rate, members are taken out of it. What was published after the
// API's answer reaches none of them, and behind the push or the close frame
// there is nothing of the room at all, batches in flight included.
func TestAPIRemovedMember(t *testing.T) {
	b := startAPI(t, withTokens)
	const room = "busy"
	var last atomic.Uint64 // what has been sent, at most
	stop, publishing := make(chan struct{}), sync.WaitGroup{}
	publisher := b.user(schema.JSON, "publisher")
	publishing.Go(func() { // ended by stop
		for n := 0; ; n += 50 {
			select {
			case <-stop:
				return
			default:
			}
			list := make([]string, 50)
			for i := range list {
				list[i] = fmt.Sprint(n + i)
			}
			last.Store(uint64(n + 49))
			if err := publisher.tryPublishAll(room, list); err != nil {
				t.Error(err)
				return
			}
		}
	})
	defer publishing.Wait()
	defer close(stop)

	for round := range 6 {
		codec := codecs[round%2]
		name := fmt.Sprint("member", round)
		m := b.user(codec, name)
		m.subscribe(room)
		m.push(room)
		order := []string{"unsubscribe", "disconnect"}[round/2%2]
		removed := make(chan uint64, 1)
		go func() { // ends with the request
			_, _, err := b.send("POST", "/api/"+order, fmt.Sprintf(`{"user":%q,"channel":%q}`, name, room),
				"X-API-Key: "+apiKey, "Content-Type: application/json")
			if err != nil {
				t.Error(err)
			}
			removed <- last.Load()
		}()
		newest, ended := m.readToTheEnd(t, room, order)
		if bound := <-removed; newest > bound {
			t.Errorf("%s: received %d after the API had answered at %d", order, newest, bound)
		}
		if !ended {
			continue
		}
		// The connection lives on, and hears nothing of the room.
		seen := last.Load()
		eventually(t, "more is published", func() bool { return last.Load() > seen+500 })
		m.ok(&protocol.Command{Ping: &protocol.PingRequest{}})
		if len(m.pushes) > 0 {
			t.Errorf("%s: received %v afterwards", order, m.pushes[0])
		}
	}
}

// readToTheEnd reads publications up to the push or the close that ends them,
// and returns the newest, and whether the connection is still open.
func (c *client) readToTheEnd(t *testing.T, room, order string) (newest uint64, open bool) {
	t.Helper()
	for {
		p, err := c.tryPush()
		if end := (closed{}); errors.As(err, &end) && order == "disconnect" && end.code == 3503 {
			return newest, false
		}
		if err != nil {
			t.Fatal(err)
		}
		if p.Channel != room {
			t.Fatalf("got %v", p)
		}
		if p.Unsubscribe != nil {
			return newest, true
		}
		var n uint64
		if _, err := fmt.Sscan(string(p.Pub.Data), &n); err != nil {
			t.Fatal(err)
		}
		newest = max(newest, n)
	}
}
