package main

import (
	"testing"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/auth"
)

const testKey = "hs256:0123456789abcdef0123456789abcdef"

// withKey makes a node want tokens.
func withKey(o *options) { o.TokenKeys = []auth.KeySpec{testKey} }

// tokenOf signs one for a user whom the server subscribes to channels.
func tokenOf(t testing.TB, user string, channels ...string) string {
	t.Helper()
	s, err := (&tokenCmd{User: user, TTL: time.Hour, Channels: channels, TokenKey: testKey}).sign(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The rooms of a token are joined with the connect, recovered from wherever
// the client was, and live from then on.
func TestServerSideSubscriptions(t *testing.T) {
	h := start(t, withKey)
	connectWith := func(c *client, token string, subs map[string]*subscribe) *protocol.ConnectResult {
		t.Helper()
		return c.ok(&command{Connect: &protocol.ConnectRequest{Token: token, Subs: subs}}).Connect
	}
	for _, tc := range []struct {
		name      string
		published int
		size      int
		recovered bool
	}{
		{"empty room", 0, 0, true},
		{"in memory", 50, 100, true},
		{"from the store", 200, 100, true},
		{"more than a connect has room for", 900, 1500, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rooms := []string{roomOf(t), "other:" + roomOf(t)}
			p := h.dial(schema.JSON)
			p.t = t
			connectWith(p, tokenOf(t, "publisher"), nil)
			for _, room := range rooms {
				p.publishAll(room, numbered("p", tc.published, tc.size))
			}
			bothCodecs(t, func(t *testing.T, codec schema.Codec) {
				c := h.dial(codec)
				c.t = t
				subs := make(map[string]*subscribe)
				for _, room := range rooms {
					subs[room] = &subscribe{Recover: true, Epoch: h.epoch()}
				}
				r := connectWith(c, tokenOf(t, "alice", rooms...), subs)
				for _, room := range rooms {
					s := r.Subs[room]
					if s == nil || s.Recovered != tc.recovered || tc.recovered && len(s.Publications) != tc.published {
						t.Fatalf("room %s was joined with %.200v", room, s)
					}
				}
				for _, room := range rooms {
					p.publish(room, `"live in `+codec.String()+`"`)
					if got := c.push(room); string(got.Data) != `"live in `+codec.String()+`"` {
						t.Errorf("received %.80s", got.Data)
					}
				}
				for _, room := range rooms {
					top := c.history(&historyRequest{Channel: room}).Offset
					if tc.recovered {
						continue
					}
					if r.Subs[room].Offset >= top {
						t.Errorf("joined at %d, the top is %d", r.Subs[room].Offset, top)
					}
				}
				tc.published++ // for the second codec
			})
		})
	}
}
