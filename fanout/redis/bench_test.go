package redis

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/schema"
)

// swallow is a log that takes everything at once.
type swallow struct{}

func (swallow) Reserve(*schema.Message) error                   { return nil }
func (swallow) Release(*schema.Message)                         {}
func (swallow) Produce(_ *schema.Message, done func(err error)) { done(nil) }
func (swallow) Heal(string, string)                             {}

// BenchmarkRelay publishes to 100 rooms as fast as Redis mints, with all the
// bookkeeping: what one Redis core orders. One member on another node hears
// of everything. The rooms' batches are of the size that draining makes them.
func BenchmarkRelay(b *testing.B) {
	w := newWorld(b, "redis://"+backends.OwnRedis(b).Addr)
	w.cfg.Sweep, w.cfg.KeepTime = 10*time.Second, 5*time.Second // or memory is what is measured
	a := w.nodeWith(swallow{})
	const rooms, underWay = 100, 8192
	data := `{"text":"` + strings.Repeat("x", 117) + `"}`
	names := make([]string, rooms)
	for i := range names {
		names[i] = "room" + strconv.Itoa(i)
	}
	slots := make(chan struct{}, underWay)
	var wg sync.WaitGroup
	var failed atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		slots <- struct{}{}
		wg.Add(1)
		done := func(err error) {
			if err != nil {
				failed.Add(1)
			}
			<-slots
			wg.Done()
		}
		if err := a.relay.Publish(message(names[i%rooms], data), done); err != nil {
			done(err)
		}
	}
	wg.Wait()
	b.StopTimer()
	if n := failed.Load(); n > 0 {
		b.Errorf("%d of %d failed", n, b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(float64(a.relay.Stats().Minted)/float64(max(1, a.relay.calls.Load())), "msg/call")
}

// BenchmarkBareMint is the same script called by the bare client with batches
// prepared beforehand: what BenchmarkRelay could reach if Go cost nothing.
func BenchmarkBareMint(b *testing.B) {
	for _, size := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			client, err := Open(context.Background(), ClientConfig{URL: "redis://" + backends.OwnRedis(b).Addr})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(client.Close)
			const rooms = 100
			body := string(appendBody(nil, sent{testBoot, 1}, message("", `{"text":"`+strings.Repeat("x", 117)+`"}`)))
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range minters {
				wg.Go(func() {
					for {
						var calls []call
						for range pipelineCalls {
							if next.Add(int64(size)) > int64(b.N) {
								break
							}
							state := client.keys.state("room" + strconv.Itoa(int(next.Load())%rooms))
							args := []string{testBoot, decimal(time.Now().UnixMilli()), "0", "0", newEpoch(), "0", "100", "5000", "86400000", ""}
							for range size {
								args = append(args, body, "0", "")
							}
							calls = append(calls, call{mintScript, []string{state, stream(state)}, args})
						}
						if len(calls) == 0 {
							return
						}
						for _, r := range run(context.Background(), client.rueidis, calls) {
							if err := r.Error(); err != nil && !rueidis.IsRedisNil(err) {
								b.Error(err)
							}
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}
