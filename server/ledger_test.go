package main

import (
	"context"
	"sync"
	"testing"

	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/sink"
)

// ledger is what the clients of a test were told and saw, to be compared with
// the store in the end. Tests publish every data once per room at most, so
// data tells a message.
type ledger struct {
	mu    sync.Mutex
	rooms map[string]*account
	views []*view
}

// account is one room's share.
type account struct {
	sent, acked map[string]int    // by data
	seen        map[uint64]string // offset -> data, in whatever a client received
}

// view is an unbroken row of publications that one client received, in its
// order, after the offset it was told.
type view struct {
	who, room string
	after     uint64
	offsets   []uint64
}

func newLedger() *ledger { return &ledger{rooms: make(map[string]*account)} }

// account is called with mu held.
func (l *ledger) account(room string) *account {
	a := l.rooms[room]
	if a == nil {
		a = &account{make(map[string]int), make(map[string]int), make(map[uint64]string)}
		l.rooms[room] = a
	}
	return a
}

func (l *ledger) sent(room, data string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.account(room).sent[data]++
}

func (l *ledger) acked(room, data string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.account(room).acked[data]++
}

// saw notes a publication, and reports what another client saw in its place.
func (l *ledger) saw(room string, offset uint64, data string) (other string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.account(room)
	if before, found := a.seen[offset]; found && before != data {
		return before, false
	}
	a.seen[offset] = data
	return "", true
}

func (l *ledger) view(who, room string, after uint64) *view {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := &view{who: who, room: room, after: after}
	l.views = append(l.views, v)
	return v
}

// count returns how many messages of a room were acknowledged.
func (l *ledger) count(room string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range l.account(room).acked {
		n += k
	}
	return n
}

// checkDir compares the ledger with the store in dir, which nobody has open.
func (l *ledger) checkDir(t testing.TB, dir string) {
	t.Helper()
	store, err := sink.OpenSQLite(dir, sink.SyncNormal, nil)
	if err != nil {
		t.Errorf("open the store again: %v", err)
		return
	}
	l.check(t, store)
}

// stored reports whether the store has what was acknowledged and what was
// seen.
func (l *ledger) stored(store *sink.Store) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for room, a := range l.rooms {
		rows, err := store.After(context.Background(), room, 0, 0, 1<<30, 1<<40)
		if err != nil {
			return false
		}
		data, offsets := make(map[string]int), make(map[uint64]bool)
		for _, m := range rows {
			data[string(m.Data)]++
			offsets[m.Offset] = true
		}
		for d, n := range a.acked {
			if data[d] < n {
				return false
			}
		}
		for offset := range a.seen {
			if !offsets[offset] {
				return false
			}
		}
	}
	return true
}

// check compares the ledger with a store, and closes it.
func (l *ledger) check(t testing.TB, store *sink.Store) {
	t.Helper()
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	l.mu.Lock()
	defer l.mu.Unlock()
	chains := make(map[string][]*schema.Message)
	for room, a := range l.rooms {
		chains[room] = chain(t, store, room)
		a.check(t, room, chains[room])
	}
	for _, v := range l.views {
		v.check(t, chains[v.room])
	}
}

// chain reads a room, which must be one chain by prev.
func chain(t testing.TB, store *sink.Store, room string) []*schema.Message {
	t.Helper()
	rows, err := store.After(context.Background(), room, 0, 0, 1<<30, 1<<40)
	if err != nil {
		t.Error(err)
	}
	var last uint64
	for _, m := range rows {
		if m.Prev != last || m.Offset <= last {
			t.Errorf("room %q: offset %d with prev %d stands after %d", room, m.Offset, m.Prev, last)
		}
		last = m.Offset
	}
	return rows
}

// check: what was acknowledged is stored once, nothing is stored more often
// than it was sent, and what was seen is stored where it was seen.
func (a *account) check(t testing.TB, room string, rows []*schema.Message) {
	t.Helper()
	stored := make(map[string]int)
	at := make(map[uint64]string)
	for _, m := range rows {
		stored[string(m.Data)]++
		at[m.Offset] = string(m.Data)
	}
	for data, n := range a.acked {
		if stored[data] < n {
			t.Errorf("room %q: %.80s was acknowledged %d times and is stored %d times", room, data, n, stored[data])
		}
	}
	for data, n := range stored {
		if n > a.sent[data] {
			t.Errorf("room %q: %.80s was sent %d times and is stored %d times", room, data, a.sent[data], n)
		}
	}
	for offset, data := range a.seen {
		if at[offset] != data {
			t.Errorf("room %q: a client saw %.80s at offset %d, stored is %.80q", room, data, offset, at[offset])
		}
	}
}

// check: a view is a piece of the chain without a gap.
func (v *view) check(t testing.TB, rows []*schema.Message) {
	t.Helper()
	for len(rows) > 0 && rows[0].Offset <= v.after {
		rows = rows[1:]
	}
	for i, offset := range v.offsets {
		switch {
		case i >= len(rows):
			t.Errorf("%s saw offset %d of room %q behind the last one stored", v.who, offset, v.room)
			return
		case rows[i].Offset != offset:
			t.Errorf("%s saw as number %d after %d of room %q offset %d, stored is %d", v.who, i, v.after, v.room, offset, rows[i].Offset)
			return
		}
	}
}
