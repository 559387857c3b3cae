package sink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hubbub-chat/hubbub/schema"
)

// fakeAppender keeps what it is given. With a gate, each Append waits for one
// receive from it; script answers the first Appends.
type fakeAppender struct {
	gate   chan struct{}
	script []error

	mu      sync.Mutex
	calls   int
	batches [][]*schema.Message // those answered with nil
}

func (a *fakeAppender) Append(ctx context.Context, batch []*schema.Message) error {
	if a.gate != nil {
		select {
		case <-a.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls++
	if a.calls <= len(a.script) && a.script[a.calls-1] != nil {
		return a.script[a.calls-1]
	}
	a.batches = append(a.batches, slices.Clone(batch))
	return nil
}

func message(data string) *schema.Message { return &schema.Message{Room: "r", Data: []byte(data)} }

func mustSubmit(t testing.TB, d *Direct, m *schema.Message, done func(error)) {
	t.Helper()
	if err := d.Submit(m, done); err != nil {
		t.Fatal(err)
	}
}

func mustClose(t testing.TB, d *Direct) {
	t.Helper()
	if err := d.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := held(d); got != (DirectStats{}) {
		t.Errorf("a closed writer holds %+v", got)
	}
}

// The whole way with a real store: order kept within and across batches,
// each callback called once and in order, Committed before it.
func TestDirectOrder(t *testing.T) {
	s := openStore(t, SyncNormal)
	n := &minter{s, make(map[string]uint64), make(map[string]uint64)}
	var committed, observed, largest int
	var acked []uint64
	d := NewDirect(s, DirectConfig{
		BatchRecords: 64,
		Mint:         n.mint,
		Committed: func(batch []*schema.Message, err error) {
			n.committed(batch, err)
			committed += len(batch)
			largest = max(largest, len(batch))
			if page, err := s.Before(context.Background(), "r", 0, 1, 1); err != nil || page[0].Offset != batch[len(batch)-1].Offset {
				t.Errorf("Committed before the commit: %v, %v", page, err)
			}
		},
		Observe: func(records int, took time.Duration) {
			if observed += records; took <= 0 {
				t.Errorf("a commit took %v", took)
			}
		},
	})
	const total = 2000
	for i := range total {
		m := message(fmt.Sprint(i))
		mustSubmit(t, d, m, func(err error) {
			if err != nil || committed <= len(acked) {
				t.Errorf("message %d: acknowledged with %v, %d committed", i, err, committed)
			}
			acked = append(acked, m.Offset)
		})
	}
	mustClose(t, d)
	if len(acked) != total || committed != total || observed != total || largest > 64 {
		t.Errorf("%d acknowledged, %d committed, %d observed of %d; largest batch %d", len(acked), committed, observed, total, largest)
	}
	page, err := s.After(t.Context(), "r", 0, 0, total+1, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range page {
		if string(m.Data) != fmt.Sprint(i) || m.Offset != acked[i] {
			t.Fatalf("message %d is %s at %d, acknowledged at %d", i, m.Data, m.Offset, acked[i])
		}
	}
}

// Batches form by draining: what queues up during a commit is the next batch.
func TestDirectDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &fakeAppender{gate: make(chan struct{})}
		d := NewDirect(a, DirectConfig{BatchRecords: 3})
		mustSubmit(t, d, message("0"), nil)
		synctest.Wait() // it is being committed, alone
		for i := 1; i <= 7; i++ {
			mustSubmit(t, d, message(fmt.Sprint(i)), nil)
		}
		for range 4 {
			a.gate <- struct{}{}
		}
		mustClose(t, d)
		var got []string
		for _, b := range a.batches {
			var s strings.Builder
			for _, m := range b {
				s.Write(m.Data)
			}
			got = append(got, s.String())
		}
		if diff := cmp.Diff([]string{"0", "123", "456", "7"}, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDirectBudget(t *testing.T) {
	size := message("1").Size()
	for _, c := range []struct {
		name string
		cfg  DirectConfig
		fits int
	}{
		{"by records", DirectConfig{MaxRecords: 3}, 3},
		{"by bytes, exactly", DirectConfig{MaxBytes: 4 * size}, 4},
		{"by bytes, one short", DirectConfig{MaxBytes: 4*size - 1}, 3},
		{"larger than the whole budget", DirectConfig{MaxBytes: size - 1}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &fakeAppender{gate: make(chan struct{})}
				d := NewDirect(a, c.cfg)
				calls := 0
				for range 2 { // the second time, with the budget given back
					for range c.fits {
						mustSubmit(t, d, message("1"), func(error) { calls++ })
						synctest.Wait() // in a commit or behind it, it counts
					}
					if err := d.Submit(message("1"), func(error) { t.Error("refused and called back") }); !errors.Is(err, ErrFull) {
						t.Errorf("error %v, want ErrFull", err)
					}
					if got, want := held(d), (DirectStats{Records: c.fits, Bytes: c.fits * size}); got != want {
						t.Errorf("holds %+v, want %+v", got, want)
					}
					for d.Stats().Records > 0 {
						a.gate <- struct{}{}
						synctest.Wait()
					}
				}
				mustClose(t, d)
				if calls != 2*c.fits {
					t.Errorf("%d callbacks, want %d", calls, 2*c.fits)
				}
			})
		})
	}
}

func TestDirectFailure(t *testing.T) {
	disk := errors.New("disk on fire")
	for _, c := range []struct {
		name   string
		script []error
		calls  int // of Append, for two batches of one message
		want   []error
	}{
		{"first batch fails, second is stored", []error{disk}, 2, []error{disk, nil}},
		{"both fail", []error{disk, disk}, 2, []error{disk, disk}},
		{"busy once", []error{ErrBusy}, 3, []error{nil, nil}},
		{"busy, wrapped", []error{fmt.Errorf("append: %w", ErrBusy)}, 3, []error{nil, nil}},
		{"busy until it counts as failed", slices.Repeat([]error{ErrBusy}, busyAttempts), busyAttempts + 1, []error{ErrBusy, nil}},
		{"busy, then broken", []error{ErrBusy, disk}, 3, []error{disk, nil}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &fakeAppender{script: c.script}
			var got, committed []error
			minted := 0
			d := NewDirect(a, DirectConfig{
				BatchRecords: 1,
				Mint:         func([]*schema.Message) error { minted++; return nil },
				Committed:    func(_ []*schema.Message, err error) { committed = append(committed, err) },
			})
			for range 2 {
				mustSubmit(t, d, message("1"), func(err error) { got = append(got, err) })
			}
			mustClose(t, d)
			if !slices.EqualFunc(got, c.want, errors.Is) || !slices.EqualFunc(committed, c.want, errors.Is) {
				t.Errorf("callbacks got %v, Committed got %v, want %v", got, committed, c.want)
			}
			if a.calls != c.calls || minted != 2 {
				t.Errorf("%d Appends and %d Mints, want %d and 2", a.calls, minted, c.calls)
			}
		})
	}
}

// With Mint as its contract says, the chain of a room has no hole where a
// batch failed.
func TestDirectChainAfterFailure(t *testing.T) {
	s := openStore(t, SyncNormal)
	n := &minter{s, make(map[string]uint64), make(map[string]uint64)}
	d := NewDirect(failing{s}, DirectConfig{BatchRecords: 5, Mint: n.mint, Committed: n.committed})
	stored := 0
	for i := range 200 {
		mustSubmit(t, d, message(fmt.Sprint(i)), func(err error) {
			if err == nil {
				stored++
			}
		})
	}
	mustClose(t, d)
	page, err := s.After(t.Context(), "r", 0, 0, 1000, 1<<30)
	if err != nil || len(page) != stored {
		t.Fatalf("%d messages, %d acknowledged, %v", len(page), stored, err)
	}
	var last uint64
	for _, m := range page {
		if m.Prev != last {
			t.Fatalf("offset %d has prev %d after %d", m.Offset, m.Prev, last)
		}
		last = m.Offset
	}
}

// failing is a Store that loses every third batch.
type failing struct{ store *Store }

func (f failing) Append(ctx context.Context, batch []*schema.Message) error {
	if rand.IntN(3) == 0 {
		return errors.New("lost")
	}
	return f.store.Append(ctx, batch)
}

func TestDirectRefuses(t *testing.T) {
	a := &fakeAppender{}
	d := NewDirect(a, DirectConfig{})
	never := func(error) { t.Error("refused and called back") }
	for _, room := range []string{"", strings.Repeat("x", 256)} {
		if err := d.Submit(&schema.Message{Room: room}, never); !errors.Is(err, schema.ErrBadRequest) {
			t.Errorf("room of %d bytes: error %v, want ErrBadRequest", len(room), err)
		}
	}
	mustClose(t, d)
	mustClose(t, d)
	if err := d.Submit(message("1"), never); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v, want ErrClosed", err)
	}
}

func TestDirectClose(t *testing.T) {
	for _, c := range []struct {
		name    string
		patient bool
	}{{"drains", true}, {"runs out of time", false}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &fakeAppender{gate: make(chan struct{})}
				d := NewDirect(a, DirectConfig{BatchRecords: 2})
				var stored, failed int
				for range 5 {
					mustSubmit(t, d, message("1"), func(err error) {
						switch {
						case err == nil:
							stored++
						case errors.Is(err, context.Canceled):
							failed++
						default:
							t.Error(err)
						}
					})
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if c.patient {
					close(a.gate)
				}
				err := d.Close(ctx)
				synctest.Wait() // the goroutine ends by itself
				if c.patient && (err != nil || stored != 5) {
					t.Errorf("error %v, %d of 5 stored", err, stored)
				}
				if !c.patient && (!errors.Is(err, context.DeadlineExceeded) || failed != 5) {
					t.Errorf("error %v, %d of 5 failed", err, failed)
				}
			})
		})
	}
}

// Callbacks may submit: a bot answers, a retry is made.
func TestDirectSubmitFromCallback(t *testing.T) {
	d := NewDirect(&fakeAppender{}, DirectConfig{MaxRecords: 1})
	left := 100
	finished := make(chan struct{})
	var again func(error)
	again = func(error) {
		if left--; left == 0 {
			close(finished)
			return
		}
		if err := d.Submit(message("1"), again); err != nil {
			t.Errorf("with %d left: %v", left, err)
			close(finished)
		}
	}
	mustSubmit(t, d, message("1"), again)
	<-finished
	mustClose(t, d)
}

// TestDirectPanics runs a child of this binary, since the panic must end it.
func TestDirectPanics(t *testing.T) {
	for _, where := range []string{"mint", "committed", "done"} {
		t.Run(where, func(t *testing.T) {
			out, err := childCommand(panicEnv, where).CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || !strings.Contains(string(out), "panic: in "+where) {
				t.Errorf("the child ended with %v and said\n%s", err, out)
			}
		})
	}
}

// runPanic is the child of TestDirectPanics.
func runPanic(where string) {
	in := func(name string) {
		if name == where {
			panic("in " + name)
		}
	}
	d := NewDirect(&fakeAppender{}, DirectConfig{
		Mint:      func([]*schema.Message) error { in("mint"); return nil },
		Committed: func([]*schema.Message, error) { in("committed") },
	})
	if err := d.Submit(message("1"), func(error) { in("done") }); err != nil {
		fmt.Println(err)
	}
	_ = d.Close(context.Background()) // does not return: the process ends
}

func TestDirectAllocations(t *testing.T) {
	var idle sync.WaitGroup
	d := NewDirect(discard{}, DirectConfig{})
	defer mustClose(t, d)
	m, done := message("1"), func(error) { idle.Done() }
	if n := testing.AllocsPerRun(1000, func() {
		idle.Add(1)
		mustSubmit(t, d, m, done)
		idle.Wait()
	}); n > 0 {
		t.Errorf("a message allocates %v times, want 0", n)
	}
}

type discard struct{}

func (discard) Append(context.Context, []*schema.Message) error { return nil }

// held is what a Direct holds, without what it has refused.
func held(d *Direct) DirectStats {
	s := d.Stats()
	s.Refused = 0
	return s
}
