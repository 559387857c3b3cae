package sink

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/hubbub-chat/hubbub/schema"
)

func TestBudgetRefuses(t *testing.T) {
	size := message("1").Size()
	long := strings.Repeat("x", 256)
	for _, c := range []struct {
		name string
		cfg  BudgetConfig
		have int // messages reserved before
		m    *schema.Message
		want error
	}{
		{"nothing", BudgetConfig{}, 100, message("1"), nil},
		{"the last record", BudgetConfig{MaxRecords: 3}, 2, message("1"), nil},
		{"one record too many", BudgetConfig{MaxRecords: 3}, 3, message("1"), ErrFull},
		{"the last byte", BudgetConfig{MaxBytes: 3 * size}, 2, message("1"), nil},
		{"one byte too many", BudgetConfig{MaxBytes: 3*size - 1}, 2, message("1"), ErrFull},
		{"as large as the store takes", BudgetConfig{MaxSize: size}, 0, message("1"), nil},
		{"larger than the store takes", BudgetConfig{MaxSize: size - 1}, 0, message("1"), schema.ErrBadRequest},
		{"no room", BudgetConfig{}, 0, &schema.Message{}, schema.ErrBadRequest},
		{"long room", BudgetConfig{}, 0, &schema.Message{Room: long}, schema.ErrBadRequest},
		{"long user", BudgetConfig{}, 0, &schema.Message{Room: "r", User: long}, schema.ErrBadRequest},
		{"long client", BudgetConfig{}, 0, &schema.Message{Room: "r", Client: long}, schema.ErrBadRequest},
		{"long key", BudgetConfig{}, 0, &schema.Message{Room: "r", Key: long}, schema.ErrBadRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := NewBudget(c.cfg)
			for range c.have {
				if err := b.Reserve(message("1")); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.Reserve(c.m); !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			want := c.have
			if c.want == nil {
				want++
			}
			if got := b.Stats(); got.Records != want || got.Reserved != want {
				t.Errorf("%+v, want %d reserved", got, want)
			}
		})
	}
}

// New messages are refused while an old one is stuck, whatever those after it
// do, and only then.
func TestBudgetStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(BudgetConfig{})
		stuck, other := message("stuck"), message("other")
		waiting := message("waiting")
		for _, m := range []*schema.Message{stuck, other, waiting} {
			if err := b.Reserve(m); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour) // what waits to be minted has no age
		f, g := b.Take(stuck), b.Take(other)
		time.Sleep(2 * time.Second)
		if err := b.Reserve(message("1")); err != nil {
			t.Errorf("at 2 s: %v", err)
		}
		time.Sleep(time.Millisecond)
		b.Land(g)
		if err := b.Reserve(message("1")); !errors.Is(err, ErrStalled) {
			t.Errorf("above 2 s: %v, want ErrStalled", err)
		}
		if got := b.Stats(); got.Oldest != 2*time.Second+time.Millisecond || got.Stalled != 1 || got.Refused != 0 {
			t.Errorf("%+v, want one refused by the stall, and none for want of room", got)
		}
		b.Land(f)
		if err := b.Reserve(message("1")); err != nil {
			t.Errorf("after it landed: %v", err)
		}
	})
}

// TestBudgetAgainstModel does random things and compares with a plain count.
func TestBudgetAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := NewBudget(BudgetConfig{MaxRecords: 1 << 20})
		var reserved []*schema.Message
		type away struct {
			f          Flight
			size       int
			unreserved bool
		}
		var flying []away
		pick := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "which") }
		for range rapid.IntRange(1, 3000).Draw(t, "steps") {
			m := message(strings.Repeat("x", rapid.IntRange(0, 9).Draw(t, "size")))
			switch op := rapid.IntRange(0, 9).Draw(t, "op"); {
			case op < 4:
				if err := b.Reserve(m); err != nil {
					t.Fatal(err)
				}
				reserved = append(reserved, m)
			case op == 4:
				b.Release(m) // nobody's
				flying = append(flying, away{b.Take(m), m.Size(), true})
			case op == 5 && len(reserved) > 0:
				i := pick(len(reserved))
				b.Release(reserved[i])
				reserved = append(reserved[:i], reserved[i+1:]...)
			case op < 8 && len(reserved) > 0:
				i := pick(len(reserved))
				flying = append(flying, away{b.Take(reserved[i]), reserved[i].Size(), false})
				reserved = append(reserved[:i], reserved[i+1:]...)
			case len(flying) > 0:
				i := pick(len(flying))
				b.Land(flying[i].f)
				flying = append(flying[:i], flying[i+1:]...)
			}
			want := BudgetStats{Records: len(reserved) + len(flying), Reserved: len(reserved)}
			for _, m := range reserved {
				want.Bytes += m.Size()
			}
			for _, f := range flying {
				want.Bytes += f.size
				if f.unreserved {
					want.Unreserved++
				}
			}
			got := b.Stats()
			got.Oldest = 0
			if got != want {
				t.Fatalf("%+v, want %+v", got, want)
			}
		}
	})
}

func TestBudgetConcurrently(t *testing.T) {
	b := NewBudget(BudgetConfig{MaxRecords: 50})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5000 {
				m := message("1")
				if b.Reserve(m) == nil {
					b.Land(b.Take(m))
				}
			}
		})
	}
	wg.Wait()
	if got := b.Stats(); got.Records != 0 || got.Bytes != 0 || got.Reserved != 0 {
		t.Errorf("%+v is held", got)
	}
}

func BenchmarkBudget(b *testing.B) {
	budget, m := NewBudget(BudgetConfig{}), message("1")
	b.ReportAllocs()
	for b.Loop() {
		if err := budget.Reserve(m); err != nil {
			b.Fatal(err)
		}
		budget.Land(budget.Take(m))
	}
}
