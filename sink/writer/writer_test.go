package writer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/sink"
	"github.com/hubbub-chat/hubbub/sink/kafka"
)

// What a writer does with each kind of record, on one broker.
func TestWriter(t *testing.T) {
	broker := backends.Kafka(t).Addr
	for _, c := range []struct {
		name string
		test func(*testing.T, *rig)
	}{
		{"stores what is there and what comes", testStores},
		{"keys", testKeys},
		{"foreign records", testForeign},
		{"poison", testPoison},
		{"a message that comes late", testLate},
		{"a hole in the stream's reach", testRepaired},
		{"a hole beyond it", testLost},
		{"a hole that outlives its writer", testHoleSurvives},
		{"heals", testHeals},
		{"a newer program's record", testNewer},
		{"two writers", testTwoWriters},
		{"the topic made anew", testTopicAnew},
		{"the log shortened", testShortened},
		{"rows and positions apart", testSharded},
		{"compacted topics", testCompacted},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.test(t, newRig(t, broker, backends.MySQL(t).DSN))
		})
	}
}

func testStores(t *testing.T, r *rig) {
	r.sendSome(3000, 7)
	w := r.open()
	r.check()
	r.sendSome(2000, 11)
	r.check()
	for _, room := range []string{"room0", "room1"} {
		r.send(r.rooms[room][:100]...) // from a node that took over
	}
	r.sendSome(10, 1)
	r.check()
	r.until("nothing is left", func() bool { s := w.Stats(); return s.Lag == 0 && s.Stored == 5210 })
	s := w.Stats()
	if s.Holes != 0 || s.Foreign+s.Poison+s.Lost+s.Rewinds != 0 || s.Partitions != 4 || s.Batches > 200 {
		t.Errorf("%+v", s)
	}
	if err := w.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

// A key that is used again is stored and hidden.
func testKeys(t *testing.T, r *rig) {
	r.open()
	first, second, other := r.next("r"), r.next("r"), r.next("r")
	first.Key, second.Key, other.Key = "k", "k", "l"
	r.send(first)
	r.check(second, other)
	r.send(second, other)
	r.check(second)
	if last, err := r.cfg.Store.Last(t.Context(), "r"); err != nil || last != other.Offset {
		t.Errorf("Last = %d, %v", last, err)
	}
}

func testForeign(t *testing.T, r *rig) {
	w := r.open()
	r.sendSome(100, 3)
	r.sendRaw("room0", `{"text":"hi"}`)
	r.sendRaw("", "")
	r.sendSome(100, 3)
	r.check()
	values := []string{}
	for _, d := range r.dead(2) {
		values = append(values, string(d.Value))
		if h := headers(d); h["hubbub-topic"] != r.cfg.Kafka.Topic || !strings.Contains(h["hubbub-reason"], "not a record of Hubbub's") || h["hubbub-offset"] == "" {
			t.Errorf("headers %v", h)
		}
	}
	slices.Sort(values)
	if diff := cmp.Diff([]string{"", `{"text":"hi"}`}, values); diff != "" {
		t.Error(diff)
	}
	r.settled(w)
	if s := w.Stats(); s.Foreign != 2 || s.Poison != 0 {
		t.Errorf("%+v", s)
	}
}

// A message that the database refuses is put aside, leaves a tombstone, and
// takes nothing with it.
func testPoison(t *testing.T, r *rig) {
	if err := execSQL(r.dsn, `ALTER TABLE messages ADD CONSTRAINT picky CHECK (client <> 'poison')`); err != nil {
		t.Fatal(err)
	}
	var poison []*schema.Message
	for i := range 1000 {
		m := r.next(fmt.Sprint("room", i%3))
		if i%300 == 200 {
			m.Client = "poison"
			poison = append(poison, m)
		}
		r.send(m)
	}
	w := r.open()
	r.check(poison...)
	for _, d := range r.dead(len(poison)) {
		if record, err := kafka.Parse(d.Key, d.Value); err != nil || record.Message.Client != "poison" || !strings.Contains(headers(d)["hubbub-reason"], "refuses the data") {
			t.Errorf("%+v %v %v", record, err, headers(d))
		}
	}
	r.sendSome(30, 3)
	r.check(poison...)
	r.settled(w)
	if s := w.Stats(); s.Poison != 3 || s.Holes != 0 || s.Rewinds != 0 {
		t.Errorf("%+v", s)
	}
	for _, m := range poison {
		if below, err := r.cfg.Store.Below(t.Context(), m.Room, m.Offset+1); err != nil || below != m.Offset {
			t.Errorf("%s %d has no tombstone: %d, %v", m.Room, m.Offset, below, err)
		}
	}
	// Once it can be stored it takes its place.
	if err := execSQL(r.dsn, `ALTER TABLE messages DROP CONSTRAINT picky`); err != nil {
		t.Fatal(err)
	}
	r.send(poison...)
	r.check()
}

// Nodes produce beside each other: what comes out of order is no loss.
func testLate(t *testing.T, r *rig) {
	w := r.open()
	r.send(r.next("r"))
	r.check()
	missing, next := r.next("r"), r.next("r")
	r.send(next)
	r.check(missing)
	r.send(missing)
	r.check()
	r.settled(w)
	time.Sleep(1100 * time.Millisecond) // a round of repairs
	if s := w.Stats(); s.Holes != 1 || s.Repaired != 0 || s.Tombstones != 0 || s.Owed != 0 {
		t.Errorf("%+v", s)
	}
}

func testRepaired(t *testing.T, r *rig) {
	st := &stream{err: errors.New("the relay is away")}
	w := r.open(func(c *Config) { c.Stream, c.RepairEvery = st, 50*time.Millisecond })
	r.send(r.next("r"))
	r.check()
	a, b, c := r.next("r"), r.next("r"), r.next("r") // nobody produces them
	r.send(r.next("r"))
	r.check(a, b, c)
	time.Sleep(200 * time.Millisecond)
	st.mu.Lock()
	st.err, st.list = nil, []*schema.Message{a, b, c}
	st.mu.Unlock()
	r.check()
	r.until("nothing is owed", func() bool { return w.Stats().Owed == 0 })
	if s := w.Stats(); s.Holes != 1 || s.Repaired != 1 || s.Tombstones != 0 {
		t.Errorf("%+v", s)
	}
}

func testLost(t *testing.T, r *rig) {
	st := new(stream)
	w := r.open(func(c *Config) { c.Stream, c.RepairEvery, c.HoleAge = st, 50*time.Millisecond, 300*time.Millisecond })
	missing := r.next("r")
	r.send(r.next("r"))
	r.check(missing)
	r.until("it is given up", func() bool { s := w.Stats(); return s.Tombstones == 1 && s.Owed == 0 })
	r.until("somebody is told", func() bool { return r.logs.FilterMessageSnippet("a message is lost").Len() == 1 })
	r.send(missing) // it was not, after all
	r.check()
}

func testHoleSurvives(t *testing.T, r *rig) {
	w := r.open()
	missing := r.next("r")
	r.send(r.next("r"))
	r.check(missing)
	r.close(w)
	st := &stream{list: []*schema.Message{missing}}
	r.open(func(c *Config) { c.Stream, c.RepairEvery = st, 50*time.Millisecond })
	r.check()
}

// A heal waits for everything before it, and for holes in its room.
func testHeals(t *testing.T, r *rig) {
	st := new(stream)
	w := r.open(func(c *Config) { c.Stream, c.RepairEvery, c.HoleAge = st, 50*time.Millisecond, time.Hour })
	r.sendSome(200, 2)
	r.producer.Heal("room0", "a.b")
	r.until("room0 is healed", func() bool { return slices.Equal(st.heals(), []string{"room0 a.b"}) })
	if n := len(r.page("room0")); n != 100 {
		t.Errorf("healed with %d messages stored", n)
	}
	missing := r.next("room1")
	r.send(r.next("room1"))
	r.producer.Heal("room1", "c.d")
	r.check(missing)
	time.Sleep(300 * time.Millisecond)
	if got := st.heals(); len(got) != 1 {
		t.Errorf("healed although a message is missing: %q", got)
	}
	r.close(w) // what is owed is not forgotten
	st.mu.Lock()
	st.list = []*schema.Message{missing}
	st.mu.Unlock()
	w = r.open(func(c *Config) { c.Stream, c.RepairEvery = st, 50*time.Millisecond })
	r.until("room1 is healed", func() bool { return slices.Equal(st.heals(), []string{"room0 a.b", "room1 c.d"}) })
	r.check()
	r.until("nothing is owed", func() bool { return w.Stats().Owed == 0 })
}

// A writer that does not understand a record neither drops it nor passes it.
func testNewer(t *testing.T, r *rig) {
	w := r.open()
	r.sendSome(40, 8)
	r.check()
	r.settled(w)
	r.sendRaw("room0", "hb\x02m and so on")
	r.until("its partition waits", func() bool { return w.Stats().Stuck == 1 })
	if err := w.Ready(t.Context()); !errors.Is(err, kafka.ErrNewer) {
		t.Errorf("Ready: %v", err)
	}
	behind := r.next("room0")
	r.send(behind)
	r.wait()
	before := w.Stats().Stored
	for i := range 8 {
		r.send(r.next(fmt.Sprint("other", i))) // of another partition, one of them
	}
	r.until("what is in another partition is stored", func() bool { return w.Stats().Stored > before })
	if page := r.page("room0"); page[len(page)-1].Offset == behind.Offset {
		t.Error("the record was passed over")
	}
}

func testTwoWriters(t *testing.T, r *rig) {
	a := r.open()
	r.sendSome(2000, 20)
	b := r.open()
	r.until("both have partitions", func() bool {
		r.sendSome(10, 20)
		return a.Stats().Partitions == 2 && b.Stats().Partitions == 2
	})
	r.sendSome(2000, 20)
	r.check()
	r.close(a)
	r.sendSome(2000, 20)
	r.check()
	r.settled(b)
	if s := b.Stats(); s.Partitions != 4 || s.Fenced != 0 {
		t.Errorf("%+v", s)
	}
	if s := a.Stats(); s.Fenced != 0 || s.Stored == 0 {
		t.Errorf("%+v", s)
	}
}

// The positions of a topic that is gone say nothing about the new one.
func testTopicAnew(t *testing.T, r *rig) {
	w := r.open()
	r.sendSome(100, 1)
	r.check()
	r.close(w)
	r.deleteTopic()
	again := newRigOn(t, r.cfg.Kafka.Brokers[0], r.dsn, r.cfg.Kafka.Topic)
	again.last["room0"] = r.last["room0"]
	again.sendSome(200, 1)
	again.rooms["room0"] = append(r.rooms["room0"], again.rooms["room0"]...)
	again.open()
	again.check()
}

// What the log dropped before it was stored is said to be lost, and what it
// still has is stored.
func testShortened(t *testing.T, r *rig) {
	for range 100 {
		r.send(r.next("r"))
	}
	r.wait()
	r.deleteRecords(r.partition("r"), 40)
	lost := slices.Clone(r.rooms["r"][:40])
	w := r.open(func(c *Config) { c.RepairEvery, c.HoleAge = 50*time.Millisecond, 100*time.Millisecond })
	r.check(lost...)
	r.until("the hole is given up", func() bool { return w.Stats().Tombstones == 1 })
	if s := w.Stats(); s.Lost != 40 || s.Holes != 1 {
		t.Errorf("%+v", s)
	}
	if r.logs.FilterMessageSnippet("dropped records before they were stored").Len() != 1 {
		t.Error("nobody was told")
	}
}

// Where one transaction cannot have rows and positions, a writer stores again
// what it may have lost, and positions do not go back.
func testSharded(t *testing.T, r *rig) {
	store, err := sink.OpenMySQL(t.Context(), sink.MySQLConfig{DSN: r.dsn, Sharded: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	r.cfg.Store = store
	w := r.open()
	r.sendSome(1000, 10)
	r.check()
	r.close(w)
	if err := execSQL(r.dsn, `DELETE FROM messages WHERE seq > 500 AND room < 'room5'`); err != nil { // a shard fell back
		t.Fatal(err)
	}
	w = r.open()
	r.sendSome(100, 10)
	r.check()
	r.settled(w)
	if s := w.Stats(); s.Stored != 1100 || s.Fenced != 0 || s.Lag != 0 {
		t.Errorf("%+v", s)
	}
}

// A topic that forgets messages before they are stored: a writer that runs is not
// ready, and no other begins. Of those that cannot be stored it is said.
func testCompacted(t *testing.T, r *rig) {
	core, logs := observer.New(zap.InfoLevel)
	r.cfg.Kafka.Log = zap.New(core)
	w := r.open()
	r.compact(r.cfg.Kafka.Topic + ".dead")
	r.until("a line says so of the dead-letter topic", func() bool { return logs.FilterMessage("a setting of a topic endangers messages").Len() == 1 })
	if err := w.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	r.compact(r.cfg.Kafka.Topic)
	r.until("the writer is not ready", func() bool {
		err := w.Ready(t.Context())
		return err != nil && strings.Contains(err.Error(), "cleanup.policy of topic "+r.cfg.Kafka.Topic)
	})
	if _, err := Open(t.Context(), r.cfg); !errors.Is(err, kafka.ErrSettings) {
		t.Errorf("open: %v", err)
	}
}
