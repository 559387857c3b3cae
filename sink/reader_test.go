package sink

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewReader(ReaderConfig{Workers: 2, Queue: 3, Timeout: time.Second})
		ran := make(chan error, 5)
		job := func(ctx context.Context) {
			<-ctx.Done()
			ran <- ctx.Err()
		}
		for i := range 2 {
			if !r.Do(job) {
				t.Fatalf("job %d refused by an idle worker", i)
			}
		}
		synctest.Wait()
		for i := range 3 {
			if !r.Do(job) {
				t.Fatalf("job %d refused by a queue with room", i)
			}
		}
		if r.Do(job) {
			t.Error("a full queue took a job")
		}

		time.Sleep(time.Second) // the first two time out, two others start
		synctest.Wait()
		for range 2 {
			if err := <-ran; !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v, want a time-out", err)
			}
		}
		r.Close() // ends two that run and one that waits
		for range 3 {
			if err := <-ran; !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want canceled", err)
			}
		}
		if r.Do(job) {
			t.Error("a closed reader took a job")
		}
		r.Close()
	})
}

func TestReaderReadsStore(t *testing.T) {
	s := openStore(t, SyncNormal)
	mustAppend(t, s, chain("r", 3)...)
	r := NewReader(ReaderConfig{})
	defer r.Close()
	got := make(chan string)
	if !r.Do(func(ctx context.Context) {
		page, err := s.Before(ctx, "r", 0, 2, 1<<20)
		if err != nil {
			t.Error(err)
		}
		got <- offsets(page)
	}) {
		t.Fatal("refused")
	}
	if g := <-got; g != "30 20" {
		t.Errorf("read %q", g)
	}
}

// A query that is under way ends with its context.
func TestReadTimesOut(t *testing.T) {
	s := openStore(t, SyncNormal)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	var n int
	err := s.reads.QueryRowContext(ctx, `WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c`).Scan(&n)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want a time-out", err)
	}
	if _, err := s.Last(t.Context(), "r"); err != nil {
		t.Errorf("the next read: %v", err)
	}
}
