package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/auth"
	"github.com/hubbub-chat/hubbub/server/sessions"
)

const matrixRules = `{
	"namespaces": {
		"public": {},
		"other":  {},
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
// matrix. Those that send have one letter: what may be published may be sent by
// RPC, and the other way round.
var operations = []struct {
	letter string
	cmd    func(channel string) *command
}{
	{"s", func(ch string) *command { return &command{Subscribe: &subscribe{Channel: ch}} }},
	{"R", func(ch string) *command { return &command{Subscribe: &subscribe{Channel: ch, Recover: true}} }},
	{"p", func(ch string) *command {
		return &command{Publish: &protocol.PublishRequest{Channel: ch, Data: protocol.Raw(`1`)}}
	}},
	{"p", func(ch string) *command { return rpcOf("chat.send", fmt.Sprintf(`{"channel":%q,"text":"1"}`, ch)) }},
	{"p", func(ch string) *command { return rpcOf("chat.typing", fmt.Sprintf(`{"channel":%q}`, ch)) }},
	{"h", func(ch string) *command { return &command{History: &historyRequest{Channel: ch, Limit: 1}} }},
	{"r", func(ch string) *command { return &command{Presence: &protocol.PresenceRequest{Channel: ch}} }},
	{"n", func(ch string) *command { return &command{PresenceStats: &protocol.PresenceStatsRequest{Channel: ch}} }},
}

// The matrix: every operation of every kind of client on every kind of
// channel, over the wire. A refusal says 103, or 102 where there is no such
// namespace, whether or not the channel has ever been used.
//
// A user without a subscription is the non-member; one that was a member until
// the server took it out is a non-member again, and rights in another namespace
// are none here. Who is blocked, and whose token has expired, may nothing
// anywhere: neither gets a connection, or keeps the one it has.
func TestPermissions(t *testing.T) {
	guests := start(t, withRules(t, matrixRules))
	users := start(t, withRules(t, matrixRules), withKey)
	if err := users.node.sessions.Block("mallory", 0); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ channel, guest, guestMember, user, userMember string }{
		{"lobby", "sRphrn", "phrn", "sRphrn", "phrn"},
		{"public:1", "sRphrn", "phrn", "sRphrn", "phrn"},
		{"news:1", "srn", "rn", "sRhrn", "hrn"},
		{"staff:1", "", "", "sR", "phrn"},
		{"$team", "", "", "", ""},
		{"public:$team", "", "", "", ""},
		{"@alice,bob", "", "", "sRphrn", "phrn"},
		{"@bob,carol", "", "", "", ""},
		{"unknown:1", "", "", "", ""},
	} {
		for _, h := range []*harness{guests, users} {
			h.store(row.channel, `"before"`)
		}
		for _, who := range []struct {
			name, want string
			connect    func(t *testing.T, channel string) *client // nil: it is not let in
		}{
			{"guest", row.guest, guests.guest},
			{"guest member", row.guestMember, guests.member(guests.guest)},
			{"user", row.user, users.user("alice")},
			{"user member", row.userMember, users.member(users.user("alice"))},
			{"user who was a member", row.user, users.evicted(users.user("alice"))},
			{"member of another namespace", row.user, users.elsewhere("alice")},
			{"blocked user", "", users.refused(tokenOf(t, "mallory"), 3507)},
			{"user with an expired token", "", users.refused(expiredToken(t), 3000)},
		} {
			t.Run(fmt.Sprint(row.channel, " ", who.name), func(t *testing.T) {
				got := ""
				for i, op := range operations {
					allowed := matrixAllows(t, who.connect, row.channel, op.cmd(row.channel))
					if i > 0 && operations[i-1].letter == op.letter {
						if strings.HasSuffix(got, op.letter) != allowed {
							t.Errorf("%v is allowed: %v, unlike what is the same", op.cmd(row.channel), allowed)
						}
					} else if allowed {
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

// store publishes past all permissions.
func (h *harness) store(channel, data string) {
	h.t.Helper()
	h.ledger.sent(channel, data)
	stored := make(chan error, 1)
	m := &schema.Message{Room: channel, Data: []byte(data)}
	if err := h.node.delivery.Publish(m, func(err error) { stored <- err }); err != nil {
		h.t.Fatal(err)
	}
	if err := <-stored; err != nil {
		h.t.Fatal(err)
	}
}

func (h *harness) guest(t *testing.T, _ string) *client {
	c := h.dial(schema.JSON)
	c.t = t
	c.connect()
	return c
}

func (h *harness) user(name string) func(t *testing.T, channel string) *client {
	return func(t *testing.T, _ string) *client {
		c := h.dial(schema.JSON)
		c.t = t
		c.id = c.ok(&command{Connect: &protocol.ConnectRequest{Token: tokenOf(t, name)}}).Connect.Client
		return c
	}
}

// member connects and subscribes to the channel. Where that is not possible,
// nobody may anything as a member.
func (h *harness) member(connect func(*testing.T, string) *client) func(*testing.T, string) *client {
	return func(t *testing.T, channel string) *client {
		c := connect(t, channel)
		if r := c.call(&command{Subscribe: &subscribe{Channel: channel}}); r.Error != nil {
			c.cut()
			return nil
		}
		return c
	}
}

// evicted was a member, where it could be one, and was taken out.
func (h *harness) evicted(connect func(*testing.T, string) *client) func(*testing.T, string) *client {
	return func(t *testing.T, channel string) *client {
		c := connect(t, channel)
		if r := c.call(&command{Subscribe: &subscribe{Channel: channel}}); r.Error == nil {
			h.node.sessions.Unsubscribe(sessions.Target{User: "alice", Client: c.id}, channel)
			if p, err := c.tryPush(); err != nil || p.Unsubscribe == nil {
				t.Fatalf("%v, %v; want an unsubscribe", p, err)
			}
		}
		return c
	}
}

// elsewhere may everything in another namespace, and is a member there.
func (h *harness) elsewhere(name string) func(*testing.T, string) *client {
	return func(t *testing.T, _ string) *client {
		c := h.dial(schema.JSON)
		c.t = t
		caps := `[{"channels":["other:*"],"match":"wildcard","allow":["sub","pub","hst","prs"]}]`
		c.ok(&command{Connect: &protocol.ConnectRequest{Token: signed(t, tokenCmd{User: name, TTL: time.Hour, Caps: caps, Channels: []string{"other:1"}})}})
		c.subscribe("other:$team")
		return c
	}
}

// refused is not let in with this token.
func (h *harness) refused(token string, code uint16) func(*testing.T, string) *client {
	return func(t *testing.T, _ string) *client {
		c := h.dial(schema.JSON)
		c.t = t
		c.send(&command{Id: 1, Connect: &protocol.ConnectRequest{Token: token}})
		for {
			_, r, err := c.next()
			var end closed
			if errors.As(err, &end) {
				if end.code != code {
					t.Errorf("%v, want %d", end, code)
				}
				return nil
			}
			if err != nil || r.Error == nil {
				t.Fatalf("answered %v, %v", r, err)
			}
		}
	}
}

func expiredToken(t testing.TB) string {
	t.Helper()
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

// matrixAllows asks on a connection of its own, so that one operation does not
// change what another may. A recovery is allowed when it brings what was there.
func matrixAllows(t *testing.T, connect func(*testing.T, string) *client, channel string, cmd *command) bool {
	t.Helper()
	c := connect(t, channel)
	if c == nil {
		return false
	}
	defer c.cut()
	r := c.call(cmd)
	if r.Error == nil {
		return cmd.Subscribe == nil || !cmd.Subscribe.Recover || len(r.Subscribe.Publications) > 0
	}
	if code := r.Error.Code; code != 102 && code != 103 && code != 105 {
		t.Errorf("%v was refused with %v", cmd, r.Error)
	}
	return false
}

// Whoever is blocked while connected, or outlives its token, is closed, hears
// nothing that is published afterwards, and does not get in again until it may.
func TestThrownOut(t *testing.T) {
	h := start(t, withKey)
	for _, c := range []struct {
		name string
		out  func()
		code uint16
	}{
		{"expired", func() {
			h.node.sessions.Refresh(sessions.Target{User: "bob"}, time.Now().Add(-time.Minute).Unix())
		}, 3005},
		{"blocked", func() {
			if err := h.node.sessions.Block("bob", time.Now().Add(time.Hour).Unix()); err != nil {
				t.Error(err)
			}
		}, 3507},
	} {
		t.Run(c.name, func(t *testing.T) {
			alice, bob := h.user("alice")(t, ""), h.user("bob")(t, "")
			bob.subscribe("lobby")
			c.out()
			eventually(t, "bob is gone", func() bool { return h.node.hub.Stats().Members == 0 })
			alice.publish("lobby", fmt.Sprintf("%q", c.name))
			for {
				_, r, err := bob.next()
				var end closed
				if errors.As(err, &end) {
					if end.code != c.code {
						t.Errorf("%v, want %d", end, c.code)
					}
					break
				}
				if err != nil || r.Push == nil || r.Push.Refresh == nil {
					t.Fatalf("received %v, %v", r, err)
				}
			}
		})
	}
	h.refused(tokenOf(t, "bob"), 3507)(t, "")
	if err := h.node.sessions.Block("bob", time.Now().Add(-time.Second).Unix()); err != nil {
		t.Fatal(err)
	}
	h.user("bob")(t, "") // its time is over
	if err := h.node.sessions.Block("bob", 0); err != nil {
		t.Fatal(err)
	}
	h.refused(tokenOf(t, "bob"), 3507)(t, "")
	h.node.sessions.Unblock("bob")
	h.user("bob")(t, "")
}

// Who is kept out stays out when the node starts again, and an order that did
// not come is made up for.
func TestBlockedLasts(t *testing.T) {
	h := start(t, withKey)
	for user, until := range map[string]int64{"bob": 0, "carol": time.Now().Add(time.Hour).Unix()} {
		if err := h.node.delivery.Block(t.Context(), user, until); err != nil {
			t.Fatal(err)
		}
	}
	h.restart()
	for _, user := range []string{"bob", "carol"} {
		h.refused(tokenOf(t, user), 3507)(t, "")
	}
	alice := h.user("alice")(t, "")
	for _, change := range []error{
		h.node.delivery.Unblock(t.Context(), "bob"),
		h.node.delivery.Block(t.Context(), "alice", 0),
		h.node.sessions.RefreshBlocked(h.node.blocked),
	} {
		if change != nil {
			t.Fatal(change)
		}
	}
	h.user("bob")(t, "")
	alice.expectClose(3507)
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
		c.fails(with(expiredToken(t)), 109)
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
		c.send(&command{Id: 99, Refresh: &protocol.RefreshRequest{Token: expiredToken(t)}})
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
