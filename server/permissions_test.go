package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/auth"
)

const matrixRules = `{
	"namespaces": {
		"public": {},
		"news":   {"publish": "nobody", "history": "users"},
		"staff":  {"subscribe": "users", "publish": "subscribers", "history": "subscribers", "presence": "subscribers"}
	}
}`

// withRules gives a node a configuration file.
func withRules(t testing.TB, rules string) func(*options) {
	file := filepath.Join(t.TempDir(), "rules.json")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(o *options) { o.Config = file }
}

// operations are the commands that name a channel, with the letters of the
// matrix.
var operations = []struct {
	letter string
	cmd    func(channel string) *command
}{
	{"s", func(ch string) *command { return &command{Subscribe: &subscribe{Channel: ch}} }},
	{"p", func(ch string) *command {
		return &command{Publish: &protocol.PublishRequest{Channel: ch, Data: protocol.Raw(`1`)}}
	}},
	{"h", func(ch string) *command { return &command{History: &historyRequest{Channel: ch}} }},
	{"r", func(ch string) *command { return &command{Presence: &protocol.PresenceRequest{Channel: ch}} }},
	{"n", func(ch string) *command { return &command{PresenceStats: &protocol.PresenceStatsRequest{Channel: ch}} }},
}

// The matrix: every operation of every kind of client on every kind of
// channel, over the wire. A refusal says 103, or 102 where there is no such
// namespace, whether or not the channel has ever been used.
func TestPermissions(t *testing.T) {
	guests := start(t, withRules(t, matrixRules))
	users := start(t, withRules(t, matrixRules), withKey)
	for _, row := range []struct{ channel, guest, guestMember, user, userMember string }{
		{"lobby", "sphrn", "phrn", "sphrn", "phrn"},
		{"public:1", "sphrn", "phrn", "sphrn", "phrn"},
		{"news:1", "srn", "rn", "shrn", "hrn"},
		{"staff:1", "", "", "s", "phrn"},
		{"$team", "", "", "", ""},
		{"public:$team", "", "", "", ""},
		{"@alice,bob", "", "", "sphrn", "phrn"},
		{"@bob,carol", "", "", "", ""},
		{"unknown:1", "", "", "", ""},
	} {
		for _, who := range []struct {
			name, want string
			h          *harness
			member     bool
		}{
			{"guest", row.guest, guests, false},
			{"guest member", row.guestMember, guests, true},
			{"user", row.user, users, false},
			{"user member", row.userMember, users, true},
		} {
			t.Run(fmt.Sprint(row.channel, " ", who.name), func(t *testing.T) {
				got := ""
				for _, op := range operations {
					if matrixAllows(t, who.h, who.member, row.channel, op.cmd(row.channel)) {
						got += op.letter
					}
				}
				if got != who.want {
					t.Errorf("may %q, want %q", got, who.want)
				}
			})
		}
	}
}

// matrixAllows asks on a connection of its own, so that one operation does not
// change what another may.
func matrixAllows(t *testing.T, h *harness, member bool, channel string, cmd *command) bool {
	t.Helper()
	c := h.dial(schema.JSON)
	defer c.cut()
	c.t = t
	connect := &protocol.ConnectRequest{}
	if !h.node.keys.Empty() {
		connect.Token = tokenOf(t, "alice")
	}
	c.ok(&command{Connect: connect})
	if member {
		if r := c.call(&command{Subscribe: &subscribe{Channel: channel}}); r.Error != nil {
			return false // nobody is a member here, so nobody may as one
		}
	}
	r := c.call(cmd)
	if r.Error == nil {
		return true
	}
	if code := r.Error.Code; code != 102 && code != 103 && code != 105 {
		t.Errorf("%v was refused with %v", cmd, r.Error)
	}
	return false
}

// signed makes a token that expires after so many seconds.
func signed(t testing.TB, c tokenCmd) string {
	t.Helper()
	c.TokenKey = testKey
	s, err := c.sign(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTokens(t *testing.T) {
	h := start(t, withKey)
	with := func(token string) *command { return &command{Connect: &protocol.ConnectRequest{Token: token}} }
	expired := func() string {
		s, err := auth.NewSigner(testKey, "", false)
		if err != nil {
			t.Fatal(err)
		}
		token, err := s.Sign(auth.Token{User: "alice", Expires: time.Now().Add(-time.Minute).Unix()})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	t.Run("no token", func(t *testing.T) {
		c := h.dial(schema.JSON)
		c.t = t
		c.fails(&command{Connect: &protocol.ConnectRequest{}}, 101)
		c.expectClose(3500)
	})
	t.Run("forged", func(t *testing.T) {
		c := h.dial(schema.JSON)
		c.t = t
		cmd := with(tokenOf(t, "alice") + "x")
		cmd.Id = 1
		c.send(cmd)
		c.expectClose(3500)
	})
	t.Run("expired", func(t *testing.T) {
		c := h.dial(schema.JSON)
		c.t = t
		c.fails(with(expired()), 109)
		c.expectClose(3000) // SDKs come back with a new token
	})
	t.Run("refresh", func(t *testing.T) {
		c := h.dial(schema.JSON)
		c.t = t
		if r := c.ok(with(signed(t, tokenCmd{User: "alice", TTL: time.Minute}))).Connect; !r.Expires || r.Ttl < 58 || r.Ttl > 60 {
			t.Errorf("connected with %v", r)
		}
		r := c.ok(&command{Refresh: &protocol.RefreshRequest{Token: signed(t, tokenCmd{User: "alice", TTL: time.Hour})}}).Refresh
		if !r.Expires || r.Ttl < 3590 {
			t.Errorf("refreshed with %v", r)
		}
		c.send(&command{Id: 99, Refresh: &protocol.RefreshRequest{Token: expired()}})
		c.expectClose(3005)
	})
	t.Run("refresh as somebody else", func(t *testing.T) {
		c := h.dial(schema.JSON)
		c.t = t
		c.ok(with(tokenOf(t, "alice")))
		c.send(&command{Id: 99, Refresh: &protocol.RefreshRequest{Token: tokenOf(t, "bob")}})
		c.expectClose(3500)
	})
	t.Run("private channel", func(t *testing.T) {
		c := h.dial(schema.JSON)
		c.t = t
		c.ok(with(tokenOf(t, "alice")))
		sub := func(tc tokenCmd) *command {
			return &command{Subscribe: &subscribe{Channel: "$team", Token: signed(t, tc)}}
		}
		c.fails(sub(tokenCmd{User: "bob", TTL: time.Hour, Channel: "$team"}), 103)
		c.fails(sub(tokenCmd{User: "alice", TTL: time.Hour, Channel: "$other"}), 103)
		if r := c.ok(sub(tokenCmd{User: "alice", TTL: time.Hour, Channel: "$team"})).Subscribe; !r.Expires || r.Ttl < 3590 {
			t.Errorf("subscribed with %v", r)
		}
		c.publish("$team", `1`)
		// The channel may be left out: the token's is meant.
		c.ok(&command{SubRefresh: &protocol.SubRefreshRequest{Token: signed(t, tokenCmd{User: "alice", TTL: time.Hour, Channel: "$team"})}})
		c.fails(&command{SubRefresh: &protocol.SubRefreshRequest{Channel: "$team", Token: signed(t, tokenCmd{User: "bob", TTL: time.Hour, Channel: "$team"})}}, 103)
	})
	t.Run("capabilities", func(t *testing.T) {
		c := h.dial(schema.JSON)
		c.t = t
		c.ok(with(signed(t, tokenCmd{User: "alice", TTL: time.Hour, Caps: `[{"channels":["$team"],"allow":["sub"]}]`})))
		c.fails(&command{Subscribe: &subscribe{Channel: "$other"}}, 103)
		c.ok(&command{Subscribe: &subscribe{Channel: "$team"}})
	})
}
