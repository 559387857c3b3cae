package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/schema"
)

// present asks a client who is in a room, and how many.
func (c *client) present(room string) (clients map[string]*protocol.ClientInfo, counts string) {
	c.t.Helper()
	clients = c.ok(&protocol.Command{Presence: &protocol.PresenceRequest{Channel: room}}).Presence.Presence
	stats := c.ok(&protocol.Command{PresenceStats: &protocol.PresenceStatsRequest{Channel: room}}).PresenceStats
	return clients, fmt.Sprint(stats.NumClients, " clients, ", stats.NumUsers, " users")
}

// nodesOf are the names of info's nodes that have so many clients and more.
func (b *backend) nodesOf(clients float64) string {
	b.t.Helper()
	var names []string
	for _, n := range b.ok("info", `{}`)["nodes"].([]any) {
		if node := n.(map[string]any); node["num_clients"].(float64) >= clients {
			names = append(names, node["name"].(string))
		}
	}
	return strings.Join(names, " ")
}

// What one node is asked holds for all: who is where, orders to sessions, the
// list of nodes. A node that is killed leaves nothing behind.
func TestPeers(t *testing.T) {
	settings := clustered(t, false)
	var opt options
	settings(&opt)
	name := func(name string) func(*options) { return func(o *options) { o.Node = name } }
	a, b := startAPI(t, settings, name("a")), startAPI(t, settings, name("b"))
	c := startChild(t, t.TempDir(), "--node=c", "--redis="+opt.Redis, "--redis-prefix="+opt.RedisPrefix, "--mysql="+opt.MySQL)

	room := roomOf(t)
	alice, bob := a.h.client(schema.JSON), b.h.client(schema.Protobuf)
	carol := dialTo(t, opt.shared, c.addr, schema.JSON)
	carol.connect()
	all := []*client{alice, bob, carol}
	for i, c := range all {
		c.subscribe(room)
		if here, _ := c.present(room); here[c.id] == nil || here[c.id].User != "guest-"+c.id {
			t.Errorf("client %d does not see itself: %v", i, here)
		}
	}
	for i, c := range all {
		eventually(t, fmt.Sprintf("client %d sees all three", i), func() bool {
			here, counts := c.present(room)
			return len(here) == 3 && counts == "3 clients, 3 users"
		})
	}
	for _, n := range []*backend{a, b} {
		eventually(t, "info lists the nodes", func() bool { return n.nodesOf(1) == "a b c" })
	}
	if list := a.ok("presence", fmt.Sprintf(`{"channel":%q}`, room))["presence"].(map[string]any); list[bob.id] == nil || list[carol.id] == nil {
		t.Errorf("the API of one node lists %v", list)
	}

	// Orders reach a client on any node, and are answered when they have.
	target := func(c *client, more string) string { return fmt.Sprintf(`{"user":"guest-%s"%s}`, c.id, more) }
	a.ok("subscribe", target(bob, `,"channel":"another"`))
	if p := bob.nextPush(); p.Subscribe == nil || p.Channel != "another" {
		t.Fatalf("%v, want a subscribe push", p)
	}
	a.ok("unsubscribe", target(bob, `,"channel":"another"`))
	if p := bob.nextPush(); p.Unsubscribe == nil || p.Channel != "another" {
		t.Fatalf("%v, want an unsubscribe push", p)
	}
	a.ok("disconnect", target(bob, `,"disconnect":{"code":4501,"reason":"see you"}`))
	if got := b.h.node.hub.Stats().Members; got != 0 {
		t.Errorf("when the order was answered, the other node had %d members", got)
	}
	bob.expectClose(4501)
	eventually(t, "who was disconnected is not present", func() bool { here, _ := alice.present(room); return here[bob.id] == nil })

	c.kill()
	// It might be out of reach and serve its clients: an answer says so.
	if _, answer := a.post("disconnect", target(carol, "")); !strings.Contains(answer, `"code":100,"message":"not in time on c,`) {
		t.Errorf("an order that a dead node has not carried out: %s", answer)
	}
	eventually(t, "the dead node's clients are gone", func() bool {
		here, counts := alice.present(room)
		return len(here) == 1 && counts == "1 clients, 1 users"
	})
	eventually(t, "the dead node is not listed", func() bool { return b.nodesOf(0) == "a b" })
}

// A node without Redis sends its clients away, takes no more, and comes back.
func TestIsolated(t *testing.T) {
	settings := clustered(t, false)
	h := start(t, settings, func(o *options) { o.Drain = 2 * time.Second })
	var clients []*client
	for range 20 {
		clients = append(clients, h.client(schema.JSON))
	}
	p := peers{h.node, h.node.delivery.(*cluster).relay}
	p.Contact(false)
	began := time.Now()
	var first, last time.Duration
	for _, c := range clients {
		c.expectClose(schema.CloseForceReconnect.Code)
		last = time.Since(began)
		if first == 0 {
			first = last
		}
	}
	if last-first < 100*time.Millisecond { // it is spread over 2 s
		t.Errorf("all were closed within %v", last-first)
	}
	if _, err := tryDial(t, h.ledger, h.addr(), schema.JSON); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("a handshake meanwhile: %v", err)
	}
	p.Contact(true)
	c := h.client(schema.JSON)
	c.subscribe("room")
	c.publish("room", `"again"`)
	if got := c.push("room"); string(got.Data) != `"again"` {
		t.Errorf("got %s", got.Data)
	}
}

// Who is closed as too slow has left: members are told, and nobody counts it.
func TestSlowMemberLeaves(t *testing.T) {
	settings := clustered(t, false)
	config := filepath.Join(t.TempDir(), "rules.json")
	if err := os.WriteFile(config, []byte(`{"default":{"join_leave":true}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	b := startAPI(t, settings, withTokens, func(o *options) { o.Config = config })
	room := roomOf(t)
	slow, quick := b.user(schema.JSON, "slow"), b.user(schema.JSON, "quick")
	quick.subscribe(room)
	slow.subscribe(room)
	if err := slow.conn.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	data := fmt.Sprintf(`{"channel":%q,"data":%q}`, room, strings.Repeat("x", 60_000))
	for i := 0; b.h.node.hub.Stats().Slow == 0; i++ {
		if i == 2000 {
			t.Fatal("120 MB did not make it slow")
		}
		b.ok("publish", data)
		quick.push(room)
	}
	for p := quick.nextPush(); p.Leave == nil || p.Leave.Info.Client != slow.id; p = quick.nextPush() {
	}
	eventually(t, "the slow one is not counted", func() bool {
		return fmt.Sprint(b.ok("presence_stats", fmt.Sprintf(`{"channel":%q}`, room))) == "map[num_clients:1 num_users:1]"
	})
}
