package writer

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/sink"
)

// BenchmarkWriter is the whole way from a full log to the database, beside the
// store's Commit of the same messages in batches of the same size alone;
// sink.BenchmarkCommit compares that with the bare client. The servers have
// the machine with it. With HUBBUB_TEST_DB=vitess it is a keyspace of one shard.
func BenchmarkWriter(b *testing.B) {
	for _, rooms := range []int{1, 1000} {
		b.Run(fmt.Sprintf("rooms=%d", rooms), func(b *testing.B) { benchmarkWriter(b, rooms) })
	}
}

func benchmarkWriter(b *testing.B, rooms int) {
	const round = 100_000
	var dsn string
	if os.Getenv("HUBBUB_TEST_DB") == "vitess" {
		dsn = backends.OwnVitess(b).Whole
	} else {
		dsn = backends.OwnMySQL(b, "--innodb-buffer-pool-size=512M", backends.RedoLog(b, 256)).DSN
	}
	r := newRig(b, backends.Kafka(b).Addr, dsn)
	data := []byte(`{"text":"` + strings.Repeat("x", 189) + `"}`)
	last := make([]uint64, rooms)
	var batches, stored uint64
	var whole, alone time.Duration
	for range b.N {
		all := make([]*schema.Message, round)
		for i := range all {
			room := i % rooms
			all[i] = &schema.Message{
				Room: fmt.Sprintf("room-%04d", room), Prev: last[room], Offset: last[room] + 1024,
				User: "user-12345", Client: "8f7a6b5c-4d3e-2f10", Data: data,
			}
			last[room] += 1024
		}
		r.send(all...)
		r.wait()
		w := r.open()
		r.until("it has joined", func() bool { return w.Stats().Stored > 0 })
		start, first := time.Now(), w.Stats().Stored
		r.until("all is stored", func() bool { return w.Stats().Stored == round })
		whole += time.Since(start) * round / time.Duration(round-first)
		r.close(w)
		s := w.Stats()
		batches, stored = batches+s.Batches, stored+s.Stored
		for _, m := range all {
			m.Room = "again-" + m.Room
		}
		start = time.Now()
		for size := int(s.Stored / s.Batches); len(all) > 0; {
			n := min(len(all), size)
			if _, err := r.cfg.Store.Commit(b.Context(), &sink.Commit{Messages: all[:n]}); err != nil {
				b.Fatal(err)
			}
			all = all[n:]
		}
		alone += time.Since(start)
	}
	b.ReportMetric(float64(stored)/whole.Seconds(), "rows/s")
	b.ReportMetric(float64(stored)/float64(batches), "rows/batch")
	b.ReportMetric(float64(stored)/alone.Seconds(), "commit-rows/s")
	b.ReportMetric(alone.Seconds()/whole.Seconds(), "ratio")
}
