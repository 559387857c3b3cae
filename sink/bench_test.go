package sink

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/schema"
)

// source makes messages for benchmarks: bodies of 200 bytes, rooms at random.
type source struct {
	rooms  []string
	data   []byte
	offset uint64
}

func newSource(rooms int) *source {
	s := &source{data: []byte(`{"text":"` + strings.Repeat("x", 189) + `"}`), offset: 1_800_000_000_000_000}
	for i := range rooms {
		s.rooms = append(s.rooms, fmt.Sprintf("room-%04d", i))
	}
	return s
}

func (s *source) next() *schema.Message {
	s.offset++
	return &schema.Message{
		Room: s.rooms[rand.IntN(len(s.rooms))], Offset: s.offset, Prev: s.offset - 1,
		User: "user-12345", Client: "8f7a6b5c-4d3e-2f10", Data: s.data,
	}
}

func (s *source) fill(batch []*schema.Message) {
	for i := range batch {
		batch[i] = s.next()
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, sync := range []Sync{SyncFull, SyncNormal} {
		for _, rooms := range []int{1, 1000} {
			for _, size := range []int{1, 64, 1024} {
				b.Run(fmt.Sprintf("sync=%v/rooms=%d/batch=%d", sync, rooms, size), func(b *testing.B) {
					benchmarkAppend(b, sync, newSource(rooms), size, false)
				})
			}
		}
	}
	b.Run("sync=normal/rooms=1/batch=64/keys", func(b *testing.B) {
		benchmarkAppend(b, SyncNormal, newSource(1), 64, true)
	})
}

func benchmarkAppend(b *testing.B, sync Sync, src *source, size int, keys bool) {
	s := openStore(b, sync)
	batch := make([]*schema.Message, size)
	var took []time.Duration
	b.ReportAllocs()
	for b.Loop() {
		src.fill(batch)
		if keys {
			for _, m := range batch {
				m.Key = fmt.Sprint(m.Offset)
			}
		}
		start := time.Now()
		mustAppend(b, s, batch...)
		took = append(took, time.Since(start))
	}
	b.ReportMetric(float64(len(took)*size)/b.Elapsed().Seconds(), "rows/s")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-µs")
}

// BenchmarkDirect is the whole path under as much load as its budget takes.
func BenchmarkDirect(b *testing.B) {
	for _, rooms := range []int{1, 1000} {
		b.Run(fmt.Sprintf("sync=normal/rooms=%d", rooms), func(b *testing.B) {
			src := newSource(rooms)
			var acks sync.WaitGroup
			done := func(err error) {
				if err != nil {
					b.Error(err)
				}
				acks.Done()
			}
			d := NewDirect(openStore(b, SyncNormal), DirectConfig{})
			b.ReportAllocs()
			for b.Loop() {
				acks.Add(1)
				for m := src.next(); d.Submit(m, done) != nil; {
					time.Sleep(time.Millisecond)
				}
			}
			acks.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			mustClose(b, d)
		})
	}
}

// BenchmarkHistory reads pages of 50 at random places of 100,000 messages.
func BenchmarkHistory(b *testing.B) {
	for _, rooms := range []int{1, 1000} {
		b.Run(fmt.Sprintf("rooms=%d", rooms), func(b *testing.B) {
			s, src := openStore(b, SyncNormal), newSource(rooms)
			first := src.offset
			batch := make([]*schema.Message, 1000)
			for range 100 {
				src.fill(batch)
				mustAppend(b, s, batch...)
			}
			b.ReportAllocs()
			for b.Loop() {
				room := src.rooms[rand.IntN(rooms)]
				before := first + rand.Uint64N(100_000)
				if _, err := s.Before(b.Context(), room, before, 50, 1<<20); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
