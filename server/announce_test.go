package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/schema"
)

// asking subscribes and asks to be told who comes and goes.
func (c *client) asking(room string) {
	c.t.Helper()
	c.ok(&protocol.Command{Subscribe: &protocol.SubscribeRequest{Channel: room, JoinLeave: true}})
}

// hearsJoin and hearsLeave wait for the push about a client. In a cluster the
// join of one that came before may still be under way.
func (c *client) hearsJoin(id string) {
	c.t.Helper()
	for p := c.nextPush(); p.Join == nil || p.Join.Info.Client != id; p = c.nextPush() {
		if p.Join == nil {
			c.t.Fatalf("%v, want the join of %s", p, id)
		}
	}
}

func (c *client) hearsLeave(id string) {
	c.t.Helper()
	if p := c.nextPush(); p.Leave == nil || p.Leave.Info.Client != id {
		c.t.Fatalf("%v, want the leave of %s", p, id)
	}
}

// Without a configuration those who ask are told at once of who comes and goes,
// and the others get nothing but messages.
func TestAnnouncements(t *testing.T) {
	for _, kind := range []string{"alone", "cluster"} {
		t.Run(kind, func(t *testing.T) {
			setting := func(*options) {}
			if kind == "cluster" {
				setting = clustered(t, false)
			}
			h := start(t, setting)
			room := roomOf(t)
			bothCodecs(t, func(t *testing.T, codec schema.Codec) {
				quiet, asks := h.client(codec), h.client(codec)
				quiet.subscribe(room + codec.String())
				asks.asking(room + codec.String())
				asks.hearsJoin(asks.id)
				other := h.client(schema.JSON)
				other.subscribe(room + codec.String())
				asks.hearsJoin(other.id)
				_ = other.conn.Close()
				asks.hearsLeave(other.id)
				asks.publish(room+codec.String(), `"message"`)
				for _, c := range []*client{quiet, asks} {
					if p := c.nextPush(); p.Pub == nil || string(p.Pub.Data) != `"message"` {
						t.Fatalf("%v, want the message", p)
					}
				}
			})
		})
	}
}

// Who may not ask who is there is not told of it either, and join_leave: false
// means nobody.
func TestAnnouncementsFollowTheRules(t *testing.T) {
	config := filepath.Join(t.TempDir(), "rules.json")
	text := `{"namespaces":{"hidden":{"presence":"nobody"},"off":{"presence":"off"},"none":{"join_leave":false},"open":{},
		"members":{"presence":"subscribers"}}}`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h := start(t, func(o *options) { o.Config = config })
	c := h.client(schema.JSON)
	for _, room := range []string{"hidden:a", "off:a", "none:a"} {
		c.asking(room)
	}
	for _, room := range []string{"open:a", "members:a"} {
		c.asking(room)
		if p := c.nextPush(); p.Join == nil || p.Channel != room {
			t.Errorf("%v, want a join in %s", p, room)
		}
	}
}
