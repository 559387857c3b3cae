package main

import (
	"encoding/base64"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/centrifugal/protocol"
	"github.com/golang-jwt/jwt/v5"

	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/auth"
)

// signedClaims signs whatever claims with the test's key.
func signedClaims(t testing.TB, claims string) string {
	t.Helper()
	enc := base64.RawURLEncoding.EncodeToString
	text := enc([]byte(`{"alg":"HS256"}`)) + "." + enc([]byte(claims))
	sum, err := jwt.SigningMethodHS256.Sign(text, []byte(testKey[len("hs256:"):]))
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + enc(sum)
}

// An expiry that is far ahead (in milliseconds, or 2^32 seconds from now, where
// 32 bits of seconds begin anew) is a ttl of a year at every door; one that
// is near is the time left.
func TestExpiryFarAhead(t *testing.T) {
	bothCodecs(t, func(t *testing.T, codec schema.Codec) {
		b := startAPI(t, withKey)
		now := time.Now().Unix()
		for name, exp := range map[string]string{
			"milliseconds":  fmt.Sprint(now * 1000),
			"2^32 ahead":    fmt.Sprint(now + 1<<32),
			"2^32+5 ahead":  fmt.Sprint(now + 1<<32 + 5),
			"a float":       fmt.Sprintf("%d.75", now+1<<32),
			"nanoseconds":   fmt.Sprint(now * 1e9),
			"the largest":   fmt.Sprint(math.MaxInt64),
			"beyond floats": "1e300",
		} {
			c := b.h.dial(codec)
			conn, sub := signedClaims(t, `{"sub":"alice","exp":`+exp+`}`), signedClaims(t, `{"sub":"alice","channel":"$a","exp":`+exp+`}`)
			const year = 365 * 24 * 60 * 60
			check := func(door string, expires bool, ttl uint32) {
				t.Helper()
				if !expires || ttl != year {
					t.Errorf("%s, %s: expires %v in %d s", name, door, expires, ttl)
				}
			}
			r := c.ok(&command{Connect: &protocol.ConnectRequest{Token: conn}}).Connect
			check("connect", r.Expires, r.Ttl)
			f := c.ok(&command{Refresh: &protocol.RefreshRequest{Token: conn}}).Refresh
			check("refresh", f.Expires, f.Ttl)
			s := c.ok(&command{Subscribe: &subscribe{Channel: "$a", Token: sub}}).Subscribe
			check("subscribe", s.Expires, s.Ttl)
			sf := c.ok(&command{SubRefresh: &protocol.SubRefreshRequest{Channel: "$a", Token: sub}}).SubRefresh
			check("sub_refresh", sf.Expires, sf.Ttl)
			if name != "a float" && name != "beyond floats" { // expire_at is an integer
				b.ok("refresh", `{"user":"alice","expire_at":`+exp+`}`)
				p := c.nextPush().Refresh
				check("refresh of the API", p != nil && p.Expires, p.GetTtl())
				b.ok("block_user", `{"user":"mallory","expire_at":`+exp+`}`)
			}
			c.cut()
			eventually(t, "the client is gone", func() bool { return b.h.node.sessions.Connected() == 0 })
		}
	})
}

// Tokens without sub are anonymous users': each is somebody else, may refresh,
// and none has what belongs to a name.
func TestAnonymousTokens(t *testing.T) {
	bothCodecs(t, func(t *testing.T, codec schema.Codec) {
		b := startAPI(t, withKey, withRules(t, `{"namespaces":{"all":{},"users":{"subscribe":"users"}}}`), func(o *options) { o.ConnsPerUser = 1 })
		minute := time.Now().Add(time.Minute).Unix()
		claims := func(more string) string { return signedClaims(t, fmt.Sprintf(`{"exp":%d%s}`, minute, more)) }
		var all []*client
		for range 3 {
			c := b.h.dial(codec)
			r := c.ok(&command{Connect: &protocol.ConnectRequest{Token: claims(`,"info":{"a":1}`)}}).Connect
			if c.id = r.Client; !r.Expires || r.Ttl < 50 || r.Ttl > 60 {
				t.Errorf("connected with %v", r)
			}
			all = append(all, c)
		}
		c := all[0]
		c.ok(&command{Refresh: &protocol.RefreshRequest{Token: signedClaims(t, `{}`)}})
		for _, direct := range []string{"@,bob", "@bob,", "@,", "@guest-" + c.id + ",bob"} {
			if r := c.call(&command{Subscribe: &subscribe{Channel: direct, Token: claims(`,"channel":"` + direct + `"`)}}); r.Error == nil {
				t.Errorf("%s is open to it", direct)
			}
			if r := c.call(&command{Subscribe: &subscribe{Channel: direct}}); r.Error == nil && direct[:2] != "@g" {
				t.Errorf("%s is open to it", direct)
			}
		}
		c.fails(&command{Subscribe: &subscribe{Channel: "users:a"}}, 103)
		c.ok(&command{Subscribe: &subscribe{Channel: "all:$a", Token: claims(`,"channel":"all:$a"`)}})
		c.ok(&command{SubRefresh: &protocol.SubRefreshRequest{Channel: "all:$a", Token: claims(`,"channel":"all:$a"`)}})
		c.fails(&command{Subscribe: &subscribe{Channel: "all:$b", Token: claims(`,"sub":"alice","channel":"all:$b"`)}}, 103)

		// A name's session does not take an anonymous user's tokens.
		alice := b.h.dial(codec)
		alice.ok(&command{Connect: &protocol.ConnectRequest{Token: claims(`,"sub":"alice"`)}})
		alice.fails(&command{Subscribe: &subscribe{Channel: "all:$a", Token: claims(`,"channel":"all:$a"`)}}, 103)

		for _, c := range all[1:] {
			c.ok(&command{Subscribe: &subscribe{Channel: "all:$a", Token: claims(`,"channel":"all:$a"`)}})
		}
		stats := c.ok(&command{PresenceStats: &protocol.PresenceStatsRequest{Channel: "all:$a"}}).PresenceStats
		if stats.NumClients != 3 || stats.NumUsers != 3 {
			t.Errorf("%v, want three clients of three users", stats)
		}
		b.fails("disconnect", `{"user":""}`, 107)
		b.fails("block_user", `{"user":""}`, 107)
		b.ok("refresh", fmt.Sprintf(`{"user":"guest-%s","expire_at":%d}`, c.id, minute))
		if p := c.nextPush().Refresh; p == nil || !p.Expires {
			t.Errorf("%v, want a refresh push", p)
		}
		b.ok("disconnect", fmt.Sprintf(`{"user":"guest-%s"}`, c.id))
		c.expectClose(3503)
		all[1].ok(&command{Ping: &protocol.PingRequest{}}) // the others stay
		all[2].ok(&command{Ping: &protocol.PingRequest{}})
	})
}

// A client whose token is refused is told why, and so is the log.
func TestRefusedTokensSayWhy(t *testing.T) {
	long := signedClaims(t, `{"sub":"alice","x":"`+fmt.Sprintf("%09000d", 0)+`"}`)
	for _, test := range []struct {
		name, token, reason string
		settings            []func(*options)
	}{
		{"longer than 8 KiB", long, "invalid token: longer than 8192 bytes", []func(*options){withKey}},
		{"where none are taken", tokenOf(t, "alice"), "invalid token: " + string(auth.NoTokens), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := start(t, test.settings...)
			c := h.dial(schema.JSON)
			c.t = t
			c.send(&command{Id: 1, Connect: &protocol.ConnectRequest{Token: test.token}})
			if end := c.expectClose(3500); end.reason != test.reason {
				t.Errorf("closed with %q, want %q", end.reason, test.reason)
			}
			lines := h.logs.FilterMessage("tokens are refused").All()
			if len(lines) != 1 || "invalid token: "+fmt.Sprint(lines[0].ContextMap()["reason"]) != test.reason {
				t.Errorf("logged %v", lines)
			}
		})
	}
}

// So it is for a subscription's token, which is refused alone, and for one to refresh
// with.
func TestRefusedSubscriptionTokensSayWhy(t *testing.T) {
	bothCodecs(t, func(t *testing.T, codec schema.Codec) {
		long := signedClaims(t, `{"sub":"alice","channel":"$a","x":"`+fmt.Sprintf("%09000d", 0)+`"}`)
		const tooLong = "invalid token: longer than 8192 bytes"
		refused := func(h *harness, c *client, token, why string) {
			t.Helper()
			for _, cmd := range []*command{
				{Subscribe: &subscribe{Channel: "$a", Token: token}}, {SubRefresh: &protocol.SubRefreshRequest{Channel: "$a", Token: token}},
			} {
				if r := c.call(cmd); r.Error == nil || r.Error.Code != 103 || r.Error.Message != "permission denied: "+why {
					t.Errorf("%v was answered %v, want %q", cmd.GetSubscribe() != nil, r.Error, why)
				}
			}
			if lines := h.logs.FilterMessage("tokens are refused").All(); len(lines) != 1 || "invalid token: "+fmt.Sprint(lines[0].ContextMap()["reason"]) != why {
				t.Errorf("logged %v, want %q", lines, why)
			}
		}
		open, closed := start(t), start(t, withKey)
		refused(open, open.client(codec), signedClaims(t, `{"channel":"$a"}`), "invalid token: "+string(auth.NoTokens))

		c := closed.dial(codec)
		c.ok(&command{Connect: &protocol.ConnectRequest{Token: tokenOf(t, "alice")}})
		refused(closed, c, long, tooLong)
		c.send(&command{Refresh: &protocol.RefreshRequest{Token: long}})
		if end := c.expectClose(3500); end.reason != tooLong {
			t.Errorf("closed with %q, want %q", end.reason, tooLong)
		}
	})
}
