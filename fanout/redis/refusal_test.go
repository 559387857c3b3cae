package redis

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/internal/contact"
	"github.com/hubbub-chat/hubbub/schema"
)

// observe has all nodes that start from here on log to the test.
func (w *world) observe() *observer.ObservedLogs {
	core, logs := observer.New(zap.InfoLevel)
	w.cfg.Logger = zap.New(core)
	return logs
}

// lines counts the lines that begin with a text, and fails the test when there
// are more than so many.
func lines(t *testing.T, logs *observer.ObservedLogs, message string, min, max int) {
	t.Helper()
	if n := logs.FilterMessage(message).Len(); n < min || n > max {
		t.Errorf("%d lines with %q, want %d to %d", n, message, min, max)
		for _, l := range logs.All() {
			t.Logf("%s %s %v", l.Level, l.Message, l.ContextMap())
		}
	}
}

func isRefused(err error) bool {
	coded := (*schema.Error)(nil)
	return errors.As(err, &coded) && coded.Code == schema.ErrTooManyRequests.Code && coded.Temporary
}

// A Redis that answers and refuses writes, in each of the ways it has: nobody
// is sent away, publishes are refused at once, people read, come in and are
// seen, and all of it is told once. Nobody is buried, before or after.
func TestRefusesWrites(t *testing.T) {
	for _, c := range []struct {
		code        string
		args        []string
		begin, over func(*backends.RedisServer)
	}{
		{
			"OOM", nil,
			func(s *backends.RedisServer) { s.Do("CONFIG", "SET", "maxmemory", "100kb") },
			func(s *backends.RedisServer) { s.Do("CONFIG", "SET", "maxmemory", "0") },
		},
		{
			"NOREPLICAS", nil,
			func(s *backends.RedisServer) { s.Do("CONFIG", "SET", "min-replicas-to-write", "1") },
			func(s *backends.RedisServer) { s.Do("CONFIG", "SET", "min-replicas-to-write", "0") },
		},
		{
			"MISCONF", []string{"--save", "3600 1000000", "--dbfilename", "dump"},
			func(s *backends.RedisServer) { save(t, s, "err") },
			func(s *backends.RedisServer) { save(t, s, "ok") },
		},
	} {
		t.Run(c.code, func(t *testing.T) {
			server := backends.OwnRedis(t, c.args...)
			w := newWorld(t, "redis://"+server.Addr)
			w.cfg.Lease, w.cfg.Isolation = time.Second, 2*time.Second
			logs := w.observe()
			a, b := w.node(), w.node()
			for _, n := range []*node{a, b} {
				n.relay.Serve(quietSelf{})
			}
			here, there := a.listen("lobby"), b.listen("lobby")
			a.enter("lobby", fanout.Client{ID: "a1", User: "alice"})
			b.enter("lobby", fanout.Client{ID: "b1", User: "bob"})
			two := func() bool {
				clients, _, err := a.relay.Count(context.Background(), "lobby")
				return err == nil && clients == 2
			}
			w.eventually("both are there", two)
			if err := a.publish(message("lobby", `"before"`)); err != nil {
				t.Fatal(err)
			}

			c.begin(server)
			w.eventually("publishes are refused", func() bool { return isRefused(a.publish(message("lobby", `"refused"`))) })
			for _, n := range []*node{a, b} {
				w.eventually("each node knows why", func() bool {
					err := n.relay.Ready()
					return err != nil && strings.Contains(err.Error(), "redis refuses writes") && strings.Contains(err.Error(), c.code)
				})
			}
			if s := a.relay.Contact().State(); s != contact.Refuses || !a.relay.Connected() {
				t.Errorf("it %v, connected %v", s, a.relay.Connected())
			}
			for began := time.Now(); time.Since(began) < 2*w.cfg.Isolation+w.cfg.Lease; { // it stays so for long
				if !two() {
					t.Fatal("a node that can write as little as the other was taken for dead")
				}
				if err := b.publish(message("lobby", `"refused"`)); !isRefused(err) {
					t.Fatalf("a publish: %v", err)
				}
				time.Sleep(10 * time.Millisecond)
			}
			fresh := b.listen("new room")
			if list, err := NewHistory(b.relay).Before(context.Background(), "lobby", 0, 10, 1<<20); err != nil || len(list) != 1 {
				t.Errorf("history: %d, %v", len(list), err)
			}
			if err := a.relay.Order(context.Background(), []byte("order")); !errors.As(err, new(Refused)) {
				t.Errorf("an order: %v", err)
			}
			for _, n := range []*node{a, b} {
				if s := n.relay.Stats(); s.Isolated || s.Peers != 2 || s.Resets > 0 {
					t.Errorf("%+v", s)
				}
			}

			c.over(server)
			w.eventually("publishing works again by itself", func() bool { return a.publish(message("lobby", `"after"`)) == nil })
			for _, l := range []*listener{here, there} {
				w.eventually("members hear it", func() bool { d := l.data(); return len(d) == 2 && d[1] == `"after"` }, l)
				if l.resets > 0 {
					t.Errorf("%d resets", l.resets)
				}
			}
			for _, n := range []*node{a, b} {
				w.eventually("ready", func() bool { return n.relay.Ready() == nil })
			}
			for began := time.Now(); time.Since(began) < 2*w.cfg.Lease; {
				if !two() {
					t.Fatal("whoever writes first again buries the other")
				}
				time.Sleep(10 * time.Millisecond)
			}
			w.eventually("it is told", func() bool { return logs.FilterMessage("back end answers again").Len() == 2 })
			lines(t, logs, "back end refuses writes", 2, 2)
			lines(t, logs, "back end answers again", 2, 2)
			if err := a.publish(message("new room", `"first"`)); err != nil {
				t.Fatal(err)
			}
			w.eventually("who came in meanwhile loads it once", func() bool {
				fresh.mu.Lock()
				defer fresh.mu.Unlock()
				return fresh.resets == 1
			}, fresh)
			lines(t, logs, "Redis has lost something of a room, or has what cannot be read: members load it anew", 0, 0)
			if n := logs.FilterLevelExact(zap.ErrorLevel).Len(); n != 2 {
				lines(t, logs, "any other error", n, n-2)
			}
			if n := logs.FilterLevelExact(zap.WarnLevel).Len(); n > 0 {
				lines(t, logs, "any warning", 1, 0)
			}
		})
	}
}

// save has a snapshot fail, or succeed again.
func save(t *testing.T, s *backends.RedisServer, want string) {
	t.Helper()
	dump := filepath.Join(s.Dir(), "dump") // a file cannot replace a directory with something in it
	if want == "err" {
		if err := os.MkdirAll(filepath.Join(dump, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
	} else if err := os.RemoveAll(dump); err != nil {
		t.Fatal(err)
	}
	s.Do("BGSAVE")
	for end := time.Now().Add(waits); !strings.Contains(s.Do("INFO", "persistence"), "rdb_last_bgsave_status:"+want); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no snapshot")
		}
	}
}

// quietSelf is a node that tells nothing and does nothing.
type quietSelf struct{}

func (quietSelf) Record() (string, json.RawMessage) { return "node", nil }
func (quietSelf) Apply([]byte)                      {}
func (quietSelf) Contact(bool)                      {}

// The roles of a primary and its replica are swapped behind one address. The
// connections that there are lead to a server that refuses writes, for good:
// all are made anew, those that members hear through as well.
func TestRolesSwapped(t *testing.T) {
	primary := backends.OwnRedis(t, "--repl-diskless-sync-delay", "0")
	replica := backends.OwnRedis(t, "--repl-diskless-sync-delay", "0")
	follow := func(s, of *backends.RedisServer) {
		host, port, _ := strings.Cut(of.Addr, ":")
		s.Do("REPLICAOF", host, port)
	}
	follow(replica, primary)
	w := newWorld(t, "")
	w.eventually("the replica copies", func() bool { return strings.Contains(replica.Do("INFO", "replication"), "master_link_status:up") })
	proxy := backends.NewProxy(t, primary.Addr)
	w.url = "redis://" + proxy.Addr
	w.cfg.Patience = 0 // the default
	logs := w.observe()
	a, b := w.node(), w.node()
	here, there := a.listen("lobby"), b.listen("lobby")
	if err := a.publish(message("lobby", `"before"`)); err != nil {
		t.Fatal(err)
	}
	primary.Synced()

	replica.Do("REPLICAOF", "NO", "ONE")
	follow(primary, replica)
	proxy.Lead(replica.Addr)
	w.eventually("publishing works again", func() bool { return a.publish(message("lobby", `"after"`)) == nil })
	for _, l := range []*listener{here, there} {
		w.eventually("members hear it", func() bool { d := l.data(); return len(d) == 2 && d[1] == `"after"` }, l)
		if l.resets > 0 {
			t.Errorf("%d resets", l.resets)
		}
	}
	w.eventually("nothing is left at the old server", func() bool { return !strings.Contains(primary.Do("CLIENT", "LIST"), "name=hubbub") })
	w.checkLinks("lobby")
	w.eventually("it is told once", func() bool { return logs.FilterMessage("back end answers again").Len() >= 1 })
	lines(t, logs, "back end refuses writes", 1, 2)
	lines(t, logs, "another server is Redis' primary now: all connections are made anew", 1, 2)
}

// What a user may not do is known before a message is half done by it.
func TestMissingRights(t *testing.T) {
	server := backends.OwnRedis(t)
	for _, c := range []struct {
		name   string
		rules  []string // beside those of the documentation
		writer bool
		want   string // in the error; empty: none
	}{
		{"as documented", nil, false, ""},
		{"no channels", []string{"resetchannels"}, false, "&test:*"},
		{"other channels", []string{"resetchannels", "&other:*"}, false, "&test:*"},
		{"no keys", []string{"resetkeys"}, false, "~test:*"},
		{"keys only to read", []string{"resetkeys", "%R~test:*"}, false, "+xadd"},
		{"one command less", []string{"-xadd"}, false, "add +xadd to"},
		{"no subscriptions", []string{"-ssubscribe"}, false, "add +ssubscribe to"},
		{"no scripts", []string{"-@scripting"}, false, "+evalsha"},
		{"the writer needs less", []string{"-xadd", "-ssubscribe", "-set"}, true, ""},
		{"the writer needs channels", []string{"resetchannels"}, true, "&test:*"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server.Do(append([]string{"ACL", "SETUSER", "limited", "reset"}, append(userRules(t), c.rules...)...)...)
			client, err := Open(context.Background(), ClientConfig{URL: "redis://limited:PASSWORD@" + server.Addr, Prefix: "test", Writer: c.writer})
			if err == nil {
				client.Close()
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// A right is taken away while nodes run: mint.lua has put the message into the
// stream when it may not tell anybody. Whatever a sender hears is true.
func TestRightTakenAway(t *testing.T) {
	server := backends.OwnRedis(t)
	server.Do(append([]string{"ACL", "SETUSER", "limited"}, userRules(t)...)...)
	w := newWorld(t, "redis://limited:PASSWORD@"+server.Addr)
	w.cfg.Patience = 0 // the default
	logs := w.observe()
	n := w.node()
	told := make(map[string]error)
	say := func(data string) error {
		told[data] = n.publish(message("lobby", data))
		return told[data]
	}
	if err := say(`"before"`); err != nil {
		t.Fatal(err)
	}
	server.Do("ACL", "SETUSER", "limited", "resetchannels")
	w.eventually("publishes are refused", func() bool { return isRefused(say(`"` + random(8) + `"`)) })
	w.eventually("it is known why", func() bool {
		err := n.relay.Ready()
		return err != nil && strings.Contains(err.Error(), "&test:*")
	})
	server.Do("ACL", "SETUSER", "limited", "&test:*")
	w.eventually("publishing works again", func() bool { return say(`"`+random(8)+`"`) == nil })

	stored := w.offsetsOf("lobby")
	streamed := server.Do("XRANGE", "test:{lobby}:stream", "-", "+")
	for data, err := range told {
		_, is := stored[data]
		switch {
		case err == nil && !is:
			t.Errorf("%s was acknowledged and is not stored", data)
		case isRefused(err) && (is || strings.Contains(streamed, data)):
			t.Errorf("%s was refused, and is there", data)
		}
	}
	lines(t, logs, "back end refuses writes", 1, 1)
}

// offsetsOf are the offsets of a room's rows, by their data.
func (w *world) offsetsOf(room string) map[string]uint64 {
	offsets := make(map[string]uint64)
	for _, m := range w.stored(room) {
		offsets[string(m.Data)] = m.Offset
	}
	return offsets
}

// Half of a node's connections are moved to another server behind one address:
// it writes there, and listens at the old one, which says nothing any more and
// refuses nothing either.
func TestListensElsewhere(t *testing.T) {
	old := backends.OwnRedis(t, "--repl-diskless-sync-delay", "0")
	host, port, _ := strings.Cut(old.Addr, ":")
	now := backends.OwnRedis(t, "--repl-diskless-sync-delay", "0", "--replicaof", host+" "+port)
	w := newWorld(t, "")
	w.eventually("the replica copies", func() bool { return strings.Contains(now.Do("INFO", "replication"), "master_link_status:up") })
	proxy := backends.NewProxy(t, old.Addr)
	w.url = "redis://" + proxy.Addr
	a, b := w.node(), w.node()
	here, there := a.listen("lobby"), b.listen("lobby")
	if err := a.publish(message("lobby", `"before"`)); err != nil {
		t.Fatal(err)
	}
	old.Synced()
	now.Do("REPLICAOF", "NO", "ONE")
	proxy.Lead(now.Addr)
	old.Do("CLIENT", "KILL", "TYPE", "normal") // those that listen stay
	w.eventually("publishing works", func() bool { return a.publish(message("lobby", `"after"`)) == nil })
	for _, l := range []*listener{here, there} {
		w.eventually("members hear it", func() bool { d := l.data(); return len(d) > 0 && d[len(d)-1] == `"after"` }, l)
	}
	w.eventually("nobody is left at the old server", func() bool { return !strings.Contains(old.Do("CLIENT", "LIST"), "name=hubbub") })
}
