package main

import (
	"testing"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/auth"
)

func insecure(o *options) {
	o.Insecure = true
	o.TokenKeys = []auth.KeySpec{"hs256:short"}
	o.ConnsPerUser, o.Rate, o.Subscriptions, o.RoomRate = 1, 1, 1, 1
	o.AllowedOrigins = []string{"https://chat.example.org"}
}

// With --insecure everybody may do what a channel has: what a namespace does
// not have, and a namespace that does not exist, stay so.
func TestInsecurePermissions(t *testing.T) {
	h := start(t, withRules(t, matrixRules), insecure)
	for _, row := range []struct{ channel, want string }{
		{"lobby", "sRppphrn"},
		{"news:1", "sRppphrn"},
		{"staff:1", "sRppphrn"},
		{"$team", "sRppphrn"},
		{"public:$team", "sRppphrn"},
		{"@bob,carol", "sRppphrn"},
		{"unknown:1", ""},
	} {
		h.store(row.channel, `"before"`)
		got := ""
		for _, op := range operations {
			if matrixAllows(t, h.guest, row.channel, op.cmd(row.channel)) {
				got += op.letter
			}
		}
		if got != row.want {
			t.Errorf("a guest may %q in %s, want %q", got, row.channel, row.want)
		}
	}
}

// With --insecure nothing is limited that a trial may want more of, and any
// secret signs tokens.
func TestInsecureLimits(t *testing.T) {
	h := start(t, insecure)
	token, err := (&tokenCmd{User: "alice", TTL: time.Hour, TokenKey: "hs256:short", Insecure: true}).sign(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c := h.dial(schema.JSON)
		c.ok(&command{Connect: &protocol.ConnectRequest{Token: token}})
		for _, channel := range []string{"a", "b", "c"} {
			c.subscribe(channel)
		}
		for range 100 {
			c.ok(&command{Publish: &protocol.PublishRequest{Channel: "a", Data: protocol.Raw(`1`)}})
		}
	}
}
