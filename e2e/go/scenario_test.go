package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/centrifugal/centrifuge-go"
)

const (
	scenarioKey    = "hs256:a secret of the scenario, 32 bytes long"
	scenarioAPIKey = "an-api-key-of-the-scenario"
	scenarioConfig = `{"namespaces": {"room": {"join_leave": true}, "short": {"history_size": 5}}}`

	shortTTL    = 3 * time.Second
	expiryGrace = 25 * time.Second // for which the server lets an expired token live on, see PROTOCOL.md
)

// scenario is what the steps share: one server, and its users' clients.
type scenario struct {
	*server
	t    *testing.T
	make func(string, centrifuge.Config) *centrifuge.Client

	alice, bob *user
	lasting    *lasting
}

// The same steps as in scenario.test.mjs and python/test_scenario.py: tokens and
// their expiry, private and direct rooms, history, presence, recovery, and what
// the server orders. Most of the time goes into waiting for tokens to expire, so
// both transports run at once, each against a server of its own.
func TestScenario(t *testing.T) {
	config := filepath.Join(t.TempDir(), "namespaces.json")
	if err := os.WriteFile(config, []byte(scenarioConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, kind := range transports {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			s := &scenario{t: t, make: kind.make, server: startServer(t,
				"HUBBUB_CONFIG="+config, "HUBBUB_TOKEN_KEY="+scenarioKey, "HUBBUB_API_KEY="+scenarioAPIKey)}
			s.lasting = s.outlive(t)
			s.alice = s.signIn(t, "alice", "--info", `{"name":"Alice"}`)
			s.bob = s.signIn(t, "bob")
			for _, step := range []struct {
				name string
				run  func(*testing.T)
			}{
				{"wrong token", s.wrongToken},
				{"private channel", s.privateChannel},
				{"direct messages", s.directMessages},
				{"history", s.history},
				{"presence", s.presence},
				{"recovery", s.recovery},
				{"server-side subscriptions", s.serverSide},
				{"rpc", s.rpc},
				{"orders", s.orders},
				{"expiry", s.expiry},
			} {
				if !t.Run(step.name, step.run) {
					return
				}
			}
		})
	}
}

// makeToken signs a token with `hubbub token`. The SDK may ask for one on a
// goroutine of its own, so it returns the error.
func makeToken(key, user string, flags ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append([]string{"token", "--user", user}, flags...)...)
	cmd.Env = []string{"HUBBUB_TOKEN_KEY=" + key}
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}

func (s *scenario) token(t *testing.T, user string, flags ...string) string {
	t.Helper()
	token, err := makeToken(scenarioKey, user, flags...)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// user is a client and what came of its connection.
type user struct {
	*centrifuge.Client
	connecting   chan centrifuge.ConnectingEvent
	connected    chan centrifuge.ConnectedEvent
	disconnected chan centrifuge.DisconnectedEvent
	subscribed   chan centrifuge.ServerSubscribedEvent
	publications chan int
}

func (s *scenario) dial(url string, config centrifuge.Config) *user {
	config.MinReconnectDelay, config.MaxReconnectDelay = 10*time.Millisecond, 50*time.Millisecond
	u := &user{
		Client:     s.make(url, config),
		connecting: make(chan centrifuge.ConnectingEvent, 100), connected: make(chan centrifuge.ConnectedEvent, 100),
		disconnected: make(chan centrifuge.DisconnectedEvent, 100), subscribed: make(chan centrifuge.ServerSubscribedEvent, 100),
		publications: make(chan int, 1000),
	}
	u.OnConnecting(func(e centrifuge.ConnectingEvent) { u.connecting <- e })
	u.OnConnected(func(e centrifuge.ConnectedEvent) { u.connected <- e })
	u.OnDisconnected(func(e centrifuge.DisconnectedEvent) { u.disconnected <- e })
	u.OnSubscribed(func(e centrifuge.ServerSubscribedEvent) { u.subscribed <- e })
	u.OnPublication(func(e centrifuge.ServerPublicationEvent) { u.publications <- number(e.Data) })
	s.t.Cleanup(u.Close) // at the end of the scenario, not of a step
	if err := u.Connect(); err != nil {
		s.t.Error(err)
	}
	return u
}

// signIn connects with a token.
func (s *scenario) signIn(t *testing.T, name string, flags ...string) *user {
	t.Helper()
	u := s.dial(s.direct(), centrifuge.Config{Token: s.token(t, name, flags...)})
	id := next(t, name+" is connected", u.connected).ClientID
	if id == "" {
		t.Error("a client without an id")
	}
	u.connected <- centrifuge.ConnectedEvent{ClientID: id}
	return u
}

func (u *user) id() string {
	e := <-u.connected
	u.connected <- e
	return e.ClientID
}

func (s *scenario) direct() string { return "ws://" + s.proxy.target + "/connection/websocket" }

// seen is a subscription and what came of it.
type seen struct {
	*centrifuge.Subscription
	subscribed   chan centrifuge.SubscribedEvent
	unsubscribed chan centrifuge.UnsubscribedEvent
	errors       chan error
	joins        chan centrifuge.ClientInfo
	leaves       chan centrifuge.ClientInfo
	publications chan int
}

func join(t *testing.T, u *user, channel string, config centrifuge.SubscriptionConfig) *seen {
	t.Helper()
	sub, err := u.NewSubscription(channel, config)
	if err != nil {
		t.Fatal(err)
	}
	b := &seen{
		Subscription: sub, subscribed: make(chan centrifuge.SubscribedEvent, 100),
		unsubscribed: make(chan centrifuge.UnsubscribedEvent, 100), errors: make(chan error, 100),
		joins: make(chan centrifuge.ClientInfo, 100), leaves: make(chan centrifuge.ClientInfo, 100),
		publications: make(chan int, 1000),
	}
	sub.OnSubscribed(func(e centrifuge.SubscribedEvent) { b.subscribed <- e })
	sub.OnUnsubscribed(func(e centrifuge.UnsubscribedEvent) { b.unsubscribed <- e })
	sub.OnError(func(e centrifuge.SubscriptionErrorEvent) { b.errors <- e.Error })
	sub.OnJoin(func(e centrifuge.JoinEvent) { b.joins <- e.ClientInfo })
	sub.OnLeave(func(e centrifuge.LeaveEvent) { b.leaves <- e.ClientInfo })
	sub.OnPublication(func(e centrifuge.PublicationEvent) { b.publications <- number(e.Data) })
	if err := sub.Subscribe(); err != nil {
		t.Fatal(err)
	}
	return b
}

func member(t *testing.T, u *user, channel string, config centrifuge.SubscriptionConfig) *seen {
	t.Helper()
	b := join(t, u, channel, config)
	if e := next(t, "subscribed to "+channel, b.subscribed); e.WasRecovering {
		t.Errorf("%s: subscribed with %+v", channel, e)
	}
	return b
}

// refused subscribes in vain.
func refused(t *testing.T, u *user, channel, token string) {
	t.Helper()
	b := join(t, u, channel, centrifuge.SubscriptionConfig{Token: token})
	if e := next(t, channel+" is refused", b.unsubscribed); e.Code != 103 || e.Reason == "" {
		t.Errorf("%s is refused with %+v, want 103", channel, e)
	}
	if err := u.RemoveSubscription(b.Subscription); err != nil {
		t.Error(err)
	}
}

func wantCode(t *testing.T, what string, err error, code uint32) {
	t.Helper()
	var e *centrifuge.Error
	if !errors.As(err, &e) || e.Code != code || e.Message == "" {
		t.Errorf("%s: %v, want error %d", what, err, code)
	}
}

func number(data []byte) int {
	var v struct{ N int }
	if json.Unmarshal(data, &v) != nil {
		return -1
	}
	return v.N
}

// send publishes the numbers from one to another.
func send(t *testing.T, u *user, channel string, from, to int) {
	t.Helper()
	for n := from; n <= to; n++ {
		publish(t, u.Client, channel, fmt.Sprintf(`{"n":%d}`, n))
	}
}

// receive wants the numbers from one to another, each once and in order.
func receive(t *testing.T, ch <-chan int, from, to int) {
	t.Helper()
	for n := from; n <= to; n++ {
		if got := next(t, fmt.Sprint("publication ", n), ch); got != n {
			t.Fatalf("publication %d came where %d is due", got, n)
		}
	}
	if len(ch) > 0 {
		t.Errorf("publication %d came after the last, %d", <-ch, to)
	}
}

func (s *scenario) wrongToken(t *testing.T) {
	token, err := makeToken("hs256:another secret than that of the server", "mallory")
	if err != nil {
		t.Fatal(err)
	}
	u := s.dial(s.direct(), centrifuge.Config{Token: token})
	if e := next(t, "it gives up", u.disconnected); e.Code != 3500 || e.Reason == "" {
		t.Errorf("disconnected with %+v, want 3500", e)
	}
	time.Sleep(time.Second)
	if n := len(u.connecting); n != 1 || u.State() != centrifuge.StateDisconnected {
		t.Errorf("%d attempts to connect, and it is %s", n, u.State())
	}
}

func (s *scenario) privateChannel(t *testing.T) {
	refused(t, s.alice, "$team", "")
	refused(t, s.alice, "$team", s.token(t, "bob", "--channel", "$team"))
	refused(t, s.alice, "$team", s.token(t, "alice", "--channel", "$other"))
	b := member(t, s.alice, "$team", centrifuge.SubscriptionConfig{GetToken: func(e centrifuge.SubscriptionTokenEvent) (string, error) {
		return makeToken(scenarioKey, "alice", "--channel", e.Channel, "--allow", "pub,hst,prs")
	}})
	send(t, s.alice, "$team", 1, 1)
	receive(t, b.publications, 1, 1)
}

func (s *scenario) directMessages(t *testing.T) {
	const room = "@alice,bob"
	a := member(t, s.alice, room, centrifuge.SubscriptionConfig{})
	b := member(t, s.bob, room, centrifuge.SubscriptionConfig{})
	carol := s.signIn(t, "carol")
	refused(t, carol, room, "")
	_, err := carol.Publish(t.Context(), room, []byte(`{"n":0}`))
	wantCode(t, "Carol publishes", err, 103)
	send(t, s.bob, room, 1, 1)
	receive(t, a.publications, 1, 1)
	receive(t, b.publications, 1, 1)
}

func (s *scenario) history(t *testing.T) {
	const room = "room:history"
	b := member(t, s.alice, room, centrifuge.SubscriptionConfig{})
	send(t, s.alice, room, 1, 120)
	receive(t, b.publications, 1, 120)
	for _, reverse := range []bool{false, true} {
		var pages, got []int
		var since *centrifuge.StreamPosition
		for {
			r, err := b.History(t.Context(), centrifuge.WithHistoryLimit(50), centrifuge.WithHistoryReverse(reverse), centrifuge.WithHistorySince(since))
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Publications) == 0 {
				break
			}
			pages = append(pages, len(r.Publications))
			for _, p := range r.Publications {
				got = append(got, number(p.Data))
				since = &centrifuge.StreamPosition{Offset: p.Offset, Epoch: r.Epoch}
			}
		}
		if !slices.Equal(pages, []int{50, 50, 20}) {
			t.Errorf("reverse %v: pages of %v", reverse, pages)
		}
		if reverse {
			slices.Reverse(got)
		}
		for i, n := range got {
			if n != i+1 {
				t.Fatalf("reverse %v: the history is %v", reverse, got)
			}
		}
	}
}

func (s *scenario) presence(t *testing.T) {
	const room = "room:presence"
	a := member(t, s.alice, room, centrifuge.SubscriptionConfig{JoinLeave: true})
	b := member(t, s.bob, room, centrifuge.SubscriptionConfig{})
	for { // her own join may come first
		if who := next(t, "Bob joins", a.joins); who.Client == s.bob.id() && who.User == "bob" {
			break
		}
	}
	p, err := a.Presence(t.Context())
	if err != nil || len(p.Clients) != 2 || p.Clients[s.bob.id()].User != "bob" ||
		p.Clients[s.alice.id()].User != "alice" || string(p.Clients[s.alice.id()].ConnInfo) != `{"name":"Alice"}` {
		t.Errorf("presence: %+v, %v", p, err)
	}
	stats := func(want int) {
		t.Helper()
		if r, err := a.PresenceStats(t.Context()); err != nil || r.NumClients != want || r.NumUsers != want {
			t.Errorf("presence stats: %+v, %v; want %d", r, err, want)
		}
	}
	stats(2)
	if err := b.Unsubscribe(); err != nil {
		t.Error(err)
	}
	if who := next(t, "Bob leaves", a.leaves); who.Client != s.bob.id() {
		t.Errorf("%+v leaves", who)
	}
	stats(1)
}

// Recovery after a cut, and its refusal when history is gone.
func (s *scenario) recovery(t *testing.T) {
	dave := s.dial(s.url(), centrifuge.Config{Token: s.token(t, "dave", "--channels", "room:server-side")})
	next(t, "subscribed by the server", dave.subscribed)
	kept := member(t, dave, "room:kept", centrifuge.SubscriptionConfig{})
	gone := member(t, dave, "short:gone", centrifuge.SubscriptionConfig{})
	rooms := []string{"room:kept", "short:gone", "room:server-side"}
	inboxes := []chan int{kept.publications, gone.publications, dave.publications}
	for i, room := range rooms {
		send(t, s.alice, room, 1, 2)
		receive(t, inboxes[i], 1, 2)
	}
	s.proxy.cut()
	for _, room := range rooms {
		send(t, s.alice, room, 3, 60)
	}
	s.proxy.open()
	if e := next(t, "subscribed again", kept.subscribed); !e.WasRecovering || !e.Recovered {
		t.Errorf("what is kept: subscribed with %+v", e)
	}
	if e := next(t, "subscribed again", gone.subscribed); !e.WasRecovering || e.Recovered {
		t.Errorf("what is gone: subscribed with %+v", e)
	}
	if e := next(t, "subscribed again", dave.subscribed); !e.WasRecovering || !e.Recovered {
		t.Errorf("by the server: subscribed with %+v", e)
	}
	for _, room := range rooms {
		send(t, s.alice, room, 61, 61)
	}
	receive(t, kept.publications, 3, 61)
	receive(t, dave.publications, 3, 61)
	receive(t, gone.publications, 61, 61)
}

func (s *scenario) serverSide(t *testing.T) {
	erin := s.signIn(t, "erin", "--channels", "room:first,$second")
	var names []string
	for range 2 {
		e := next(t, "subscribed by the server", erin.subscribed)
		if !e.Recoverable || !e.Positioned {
			t.Errorf("subscribed with %+v", e)
		}
		names = append(names, e.Channel)
	}
	if slices.Sort(names); !slices.Equal(names, []string{"$second", "room:first"}) {
		t.Errorf("subscribed to %v", names)
	}
	send(t, s.alice, "room:first", 1, 1)
	receive(t, erin.publications, 1, 1)
}

// rpc sends a message with a key twice, tells that somebody types, and calls
// what is not there.
func (s *scenario) rpc(t *testing.T) {
	const room = "room:rpc"
	b := member(t, s.bob, room, centrifuge.SubscriptionConfig{})
	call := func(method, data string) (result struct {
		Offset    uint64
		Duplicate bool
	}, err error) {
		r, err := s.alice.RPC(t.Context(), method, []byte(data))
		if err == nil {
			err = json.Unmarshal(r.Data, &result)
		}
		return result, err
	}
	const message = `{"channel":"room:rpc","data":{"n":1},"key":"k"}`
	first, err := call("chat.send", message)
	if err != nil || first.Offset == 0 || first.Duplicate {
		t.Errorf("sent: %+v, %v", first, err)
	}
	if again, err := call("chat.send", message); err != nil || again.Offset != first.Offset || !again.Duplicate {
		t.Errorf("sent again: %+v, %v", again, err)
	}
	_, err = call("chat.send", `{"channel":"room:rpc","data":{"n":2},"key":"k"}`)
	wantCode(t, "another message with the key", err, 107)
	_, err = call("chat.send", `{"channel":"$other","text":"hi"}`)
	wantCode(t, "a private channel", err, 103)
	if _, err := call("chat.typing", `{"channel":"room:rpc"}`); err != nil {
		t.Error(err)
	}
	send(t, s.alice, room, 3, 3)
	for i, want := range []int{1, 0, 3} { // 0 is Alice, typing
		if got := next(t, "a publication", b.publications); got != want {
			t.Errorf("publication %d is %d, want %d", i, got, want)
		}
	}
	if r, err := b.History(t.Context(), centrifuge.WithHistoryLimit(10)); err != nil || len(r.Publications) != 2 || r.Publications[0].Offset != first.Offset {
		t.Errorf("history: %+v, %v", r, err)
	}

	_, err = s.alice.RPC(t.Context(), "no.such", []byte("{}"))
	wantCode(t, "an unknown RPC", err, 108)
}

// order posts to the server API, and leaves a step out where the server has
// none.
func (s *scenario) order(t *testing.T, method, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.proxy.target+"/api/"+method, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-API-Key", scenarioAPIKey)
	r.Header.Set("Content-Type", "application/json")
	r.Close = true
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	switch {
	case resp.StatusCode == http.StatusNotFound:
		t.Skipf("this server has no API: POST /api/%s answers 404", method)
	case err != nil || resp.StatusCode != http.StatusOK || strings.TrimSpace(string(answer)) != `{"result":{}}`:
		t.Fatalf("%s: %s %s, %v", method, resp.Status, answer, err)
	}
}

func (s *scenario) orders(t *testing.T) {
	const room = "room:orders"
	frank := s.signIn(t, "frank")
	b := member(t, frank, room, centrifuge.SubscriptionConfig{})
	send(t, s.alice, room, 1, 1)
	receive(t, b.publications, 1, 1)
	s.order(t, "unsubscribe", `{"user":"frank","channel":"`+room+`"}`)
	if e := next(t, "unsubscribed", b.unsubscribed); e.Code != 2000 || e.Reason == "" {
		t.Errorf("unsubscribed with %+v, want 2000", e)
	}
	send(t, s.alice, room, 2, 2)
	s.order(t, "disconnect", `{"user":"frank"}`)
	if e := next(t, "disconnected", frank.disconnected); e.Code != 3503 || e.Reason == "" {
		t.Errorf("disconnected with %+v, want 3503", e)
	}
	time.Sleep(time.Second)
	if n := len(frank.connecting); n != 1 {
		t.Errorf("%d attempts to connect: it is to stay away", n)
	}
	if len(b.publications) > 0 {
		t.Error("a publication came after the unsubscribe")
	}
}

// lasting connects with tokens of three seconds.
type lasting struct {
	*user
	sub               *seen
	tokens, subTokens atomic.Int32 // asked for
	over              time.Time    // the first token and its grace
}

func (s *scenario) outlive(t *testing.T) *lasting {
	l := &lasting{over: time.Now().Add(shortTTL + expiryGrace + 1500*time.Millisecond)}
	ttl := "--ttl=" + shortTTL.String()
	l.user = s.dial(s.direct(), centrifuge.Config{GetToken: func(centrifuge.ConnectionTokenEvent) (string, error) {
		l.tokens.Add(1)
		return makeToken(scenarioKey, "lasting", ttl)
	}})
	next(t, "the client with short tokens is connected", l.connected)
	l.sub = member(t, l.user, "$lasting", centrifuge.SubscriptionConfig{GetToken: func(e centrifuge.SubscriptionTokenEvent) (string, error) {
		l.subTokens.Add(1)
		return makeToken(scenarioKey, "lasting", ttl, "--channel", e.Channel)
	}})
	return l
}

// expiry looks at what became of it.
func (s *scenario) expiry(t *testing.T) {
	l := s.lasting
	time.Sleep(time.Until(l.over))
	send(t, l.user, "room:lasting", 1, 1)
	if n := len(l.connecting); n != 1 || l.State() != centrifuge.StateConnected {
		t.Errorf("%d connections, the last is %s", n, l.State())
	}
	if len(l.sub.subscribed) > 0 || len(l.sub.errors) > 0 || l.sub.State() != centrifuge.SubStateSubscribed {
		t.Errorf("subscribed %d times more, %d errors, and it is %s", len(l.sub.subscribed), len(l.sub.errors), l.sub.State())
	}
	if a, b := l.tokens.Load(), l.subTokens.Load(); a < 5 || b < 5 {
		t.Errorf("%d and %d tokens were asked for", a, b)
	}
}
