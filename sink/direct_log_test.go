package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/schema"
)

func mustCloseLog(t testing.TB, l *DirectLog) {
	t.Helper()
	if err := l.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := l.Stats(); got.Records != 0 || got.Bytes != 0 {
		t.Errorf("a closed log holds %+v", got)
	}
}

// What the database refuses is put aside, and takes nothing with it.
func TestDirectLogSetsAside(t *testing.T) {
	m := openMySQL(t)
	var aside []uint64
	l := NewDirectLog(m, DirectLogConfig{SetAside: func(m *schema.Message, err error) { aside = append(aside, m.Offset) }})
	long := strings.Repeat("x", 256)
	var want []*schema.Message
	var mu sync.Mutex
	failed := make(map[uint64]error)
	for _, msg := range chain("r", 200) {
		if msg.Offset%700 == 0 {
			msg.User = long // nobody reserved it
		} else {
			want = append(want, msg)
			if err := l.Reserve(msg); err != nil {
				t.Fatal(err)
			}
		}
		l.Produce(msg, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			if _, twice := failed[msg.Offset]; twice {
				t.Errorf("done of %d is called twice", msg.Offset)
			}
			failed[msg.Offset] = err
		})
	}
	mustCloseLog(t, l)
	if diff := cmp.Diff([]uint64{700, 1400}, aside); diff != "" {
		t.Error(diff)
	}
	for offset, err := range failed {
		if bad := offset%700 == 0; bad != errors.Is(err, ErrData) || !bad && err != nil {
			t.Errorf("%d: %v", offset, err)
		}
	}
	page, err := m.After(t.Context(), "r", 0, 0, 1000, 1<<20)
	if err != nil || len(failed) != 200 {
		t.Fatal(len(failed), err)
	}
	if diff := cmp.Diff(want, page); diff != "" {
		t.Error(diff)
	}
	if got := l.Stats().SetAside; got != 2 {
		t.Errorf("%d are counted", got)
	}
}

// A database that is killed and comes back costs time and nothing else.
func TestDirectLogOutwaits(t *testing.T) {
	server := backends.OwnMySQL(t)
	m := openMySQLAt(t, server.DSN)
	l := NewDirectLog(m, DirectLogConfig{BatchRecords: 50})
	all := chain("r", 5000)
	var calls [5000]atomic.Int32
	refused := 0
	for i := 0; i < len(all); {
		if i == 1000 && refused == 0 {
			server.Kill9()
			for l.Reserve(all[i]) == nil { // until the outage is noticed
				l.Produce(all[i], func(error) {})
				time.Sleep(time.Millisecond)
			}
			refused++
			if l.Ready(t.Context()) == nil {
				t.Error("ready although stalled")
			}
			server.Start()
		}
		if err := l.Reserve(all[i]); err != nil {
			if !errors.Is(err, ErrStalled) {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
			continue
		}
		n := i
		l.Produce(all[n], func(err error) {
			if err != nil {
				t.Error(err)
			}
			calls[n].Add(1)
		})
		i++
	}
	mustCloseLog(t, l)
	for i := range calls {
		if n := calls[i].Load(); n != 1 {
			t.Errorf("message %d: done was called %d times", i, n)
		}
	}
	page, err := m.After(t.Context(), "r", 0, 0, 10_000, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all, page); diff != "" {
		t.Error(diff)
	}
}

// A heal waits for what was produced before it, and no longer.
func TestDirectLogHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &fakeAppender{gate: make(chan struct{})}
		var mu sync.Mutex
		var healed []string
		tries := 0
		l := NewDirectLog(a, DirectLogConfig{BatchRecords: 1, Healed: func(_ context.Context, room, epoch string) error {
			mu.Lock()
			defer mu.Unlock()
			if tries++; tries == 1 {
				return errors.New("try again")
			}
			healed = append(healed, room+" "+epoch)
			return nil
		}})
		check := func(want ...string) {
			t.Helper()
			time.Sleep(time.Minute)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(healed, want) {
				t.Errorf("healed %q, want %q", healed, want)
			}
		}
		l.Heal("r", "0")
		check("r 0")
		for i := range 2 {
			l.Produce(&schema.Message{Room: "r", Offset: uint64(i + 1), Data: []byte(`1`)}, nil)
			l.Heal(fmt.Sprint("r", i+1), "e")
		}
		check("r 0")
		a.gate <- struct{}{}
		check("r 0", "r1 e")
		a.gate <- struct{}{}
		check("r 0", "r1 e", "r2 e")
		mustCloseLog(t, l)
	})
}

// In the alone mode too, a batch keeps its offsets until its fate is known.
func TestDirectOutwaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &fakeAppender{script: []error{ErrUnavailable, ErrUnavailable, ErrUnavailable, ErrUnavailable, ErrUnavailable, ErrUnavailable}}
		mints := 0
		d := NewDirect(a, DirectConfig{MaxAge: time.Second, Mint: func([]*schema.Message) error { mints++; return nil }})
		var err error
		done := make(chan struct{})
		mustSubmit(t, d, message("1"), func(e error) { err = e; close(done) })
		time.Sleep(1001 * time.Millisecond)
		if err := d.Submit(message("2"), nil); !errors.Is(err, ErrStalled) {
			t.Errorf("submit while it is away: %v", err)
		}
		<-done
		if err != nil || mints != 1 || a.calls != 7 {
			t.Errorf("%v, %d mints, %d calls", err, mints, a.calls)
		}
		mustSubmit(t, d, message("3"), nil)
		if err := d.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}
