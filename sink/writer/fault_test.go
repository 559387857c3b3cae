package writer

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/internal/backends"
)

// load produces to 20 rooms until the function returned is called, some
// hundreds of messages a second, with a key here and there.
func (r *rig) load() (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // ends when done is closed
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			case <-time.After(2 * time.Millisecond):
			}
			for range 1 + rand.IntN(4) {
				m := r.next(fmt.Sprint("room", rand.IntN(20)))
				if i%7 == 0 {
					m.Key = fmt.Sprint("key", m.Offset)
				}
				r.send(m)
			}
		}
	})
	stop = sync.OnceFunc(func() {
		close(done)
		wg.Wait()
	})
	r.t.Cleanup(stop)
	return stop
}

// What real servers and processes do to a writer, on one broker. They mostly
// wait for time-outs, so they do so together.
func TestFaults(t *testing.T) {
	broker := backends.Kafka(t).Addr
	for name, test := range map[string]func(t *testing.T, broker string){
		"kill -9 of writers":                  testKill9,
		"a writer paused while another works": testZombie,
		"restarts of the database":            testDatabaseRestart,
		"a database that has stopped":         testStoppedDatabase,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, broker)
		})
	}
}

// Writers are killed at any moment: what was produced is stored once, in
// order and as it was.
func testKill9(t *testing.T, broker string) {
	r := newRig(t, broker, backends.MySQL(t).DSN)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	stop := r.load()
	for range 3 {
		c := r.child()
		c.stored(0)
		time.Sleep(time.Duration(random.IntN(200_000)) * time.Microsecond)
		if err := c.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	c := r.child()
	c.stored(0)
	stop()
	r.check()
}

// A writer that is paused while another takes over its partitions does not
// undo, repeat or lose anything when it goes on.
func testZombie(t *testing.T, broker string) {
	r := newRig(t, broker, backends.MySQL(t).DSN)
	stop := r.load()
	zombie := r.child()
	before, _, _ := zombie.stored(500)
	if err := zombie.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	w := r.open()
	r.until("the other has taken over and stored", func() bool {
		s := w.Stats()
		return s.Partitions == 4 && s.Stored > 2*before && s.Lag < 100
	})
	if err := zombie.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	r.until("both have partitions", func() bool { return w.Stats().Partitions == 2 })
	zombie.stored(before)
	time.Sleep(500 * time.Millisecond)
	stop()
	r.check()
}

// The database says nothing for longer than a writer's patience, while the log
// grows: how far it is behind is known all the time, although the writer has
// left the group.
func testStoppedDatabase(t *testing.T, broker string) {
	server := backends.OwnDatabase(t)
	r := newRig(t, broker, server.DSN)
	w := r.open()
	r.sendSome(40, 8)
	r.check()
	r.until("nothing is behind", func() bool { s := w.Stats(); return s.Lag == 0 && s.Delay == 0 })
	server.Parts[0].Pause()
	began := time.Now()
	r.sendSome(300, 8)
	r.wait()
	r.until("300 are behind", func() bool { return w.Stats().Lag == 300 })
	r.until("the writer has given up", func() bool { return w.Stats().Partitions == 0 })
	r.sendSome(100, 8)
	r.wait()
	r.until("400 are behind, the oldest for seconds", func() bool {
		s := w.Stats()
		if s.Delay > time.Since(began)+time.Second { // records have milliseconds
			t.Fatalf("a delay of %v after %v", s.Delay, time.Since(began))
		}
		return s.Lag == 400 && s.Delay > 5*time.Second
	})
	if err := w.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "mysql does not answer") {
		t.Errorf("ready: %v", err)
	}
	server.Parts[0].Continue()
	r.check()
	r.until("nothing is behind", func() bool { s := w.Stats(); return s.Lag == 0 && s.Delay == 0 })
	r.until("it is ready", func() bool { return w.Ready(t.Context()) == nil })
	for _, line := range []string{"nothing is being stored", "the log is being stored again"} {
		if n := r.logs.FilterMessage(line).Len(); n != 1 {
			t.Errorf("%d lines of %q", n, line)
		}
	}
}

// The database is killed and comes back, more than once, for a moment and for
// longer than a writer's patience.
func testDatabaseRestart(t *testing.T, broker string) {
	server := backends.OwnDatabase(t)
	r := newRig(t, broker, server.DSN)
	w := r.open()
	stop := r.load()
	for i, away := range []time.Duration{0, 2 * time.Second, patience + 3*time.Second} {
		before := w.Stats().Stored
		r.until("it stores", func() bool { return w.Stats().Stored > before+200 })
		part := server.Parts[i%len(server.Parts)]
		part.Kill9()
		if away > time.Second {
			r.until("it says so", func() bool { return w.Ready(t.Context()) != nil })
		}
		time.Sleep(away)
		part.Start()
	}
	before := w.Stats().Stored
	r.until("it stores", func() bool { return w.Stats().Stored > before+200 })
	stop()
	r.check()
	if err := w.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	if s := w.Stats(); s.Rewinds == 0 || s.Tombstones != 0 {
		t.Errorf("%+v", s)
	}
}

// The same of the log.
func TestLogRestart(t *testing.T) {
	server := backends.OwnKafka(t)
	r := newRig(t, server.Addr, backends.MySQL(t).DSN)
	w := r.open()
	stop := r.load()
	for range 2 {
		before := w.Stats().Stored
		r.until("it stores", func() bool { return w.Stats().Stored > before+200 })
		server.Kill9()
		time.Sleep(500 * time.Millisecond)
		server.Start()
	}
	before := w.Stats().Stored
	r.until("it stores", func() bool { return w.Stats().Stored > before+200 })
	stop()
	r.check()
	if s := w.Stats(); s.Lost != 0 || s.Tombstones != 0 {
		t.Errorf("%+v", s)
	}
}
