package main

import (
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/check"
	"github.com/hubbub-chat/hubbub/loadgen/report"
	"github.com/hubbub-chat/hubbub/schema"
)

// TestLateIsNotLost: what is under way when the drain is over is waited for, whoever is
// slow. The server's loop stops for many drains, in the midst of the last message.
func TestLateIsNotLost(t *testing.T) {
	t.Parallel()
	late := func(last int) wrong {
		return wrong{deliver: func(n, i int, m schema.Message) []schema.Message {
			if n == last && i == 4 {
				time.Sleep(time.Second)
			}
			return just(m)
		}}
	}
	t.Run("one process", func(t *testing.T) {
		t.Parallel()
		url, _ := startChat(t, late(119), false)
		code, r, stdout, _ := loadgen(t, t.Context(), shortRun(url, "--drain", "50ms")...)
		if code != exitOK || r.Check.Sent != 120 {
			t.Fatalf("exit code %d\n%s", code, stdout)
		}
	})
	t.Run("two processes with one room", func(t *testing.T) {
		t.Parallel()
		url, _ := startChat(t, late(130), false)
		code, r, stdout, _ := loadgen(t, t.Context(), "play", scenarioFile(t, oneRoom), "--url", url, "--workers", "2", "--set", "drain=50ms")
		if code != exitOK || r.Check.Sent <= 130 {
			t.Fatalf("exit code %d\n%s", code, stdout)
		}
	})
}

// waitLong is enough for what comes, on any machine.
const waitLong = time.Minute

var shortPayload = check.Exactly(check.MinPayload)

func joinedAll(n uint64) func(*report.Snapshot) bool {
	return func(s *report.Snapshot) bool { return s.Settled() >= n }
}

// TestUnquiet: a connection that shows in no way that nothing is under way is counted,
// and the report says that its verdict on loss is not certain.
func TestUnquiet(t *testing.T) {
	t.Parallel()
	stuck := make(chan struct{})
	url, s := startChat(t, wrong{}, false)
	target := target{URLs: []string{url}, Protocol: "json", ConnectRate: 1000, Loops: 1}
	cfg, err := target.config(environment{ctx: t.Context()}, inTurn(3, 1), shortPayload)
	if err != nil {
		t.Fatal(err)
	}
	f, err := newFleet(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	defer close(stuck)
	f.open(0, 3, 1000)
	if got, _ := f.watch(t.Context(), waitLong, nil, joinedAll(3)); got.Joined != 3 {
		t.Fatalf("%+v", got)
	}
	never := func(*report.Snapshot) bool { return false }
	if n := f.calm(t.Context(), 10*time.Millisecond, time.Minute, nil, never); n != 0 {
		t.Errorf("%d connections are not quiet, of a server that answers", n)
	}
	s.engine.Loops()[0].Post(func() { <-stuck })
	if n := f.calm(t.Context(), 10*time.Millisecond, 50*time.Millisecond, nil, never); n != 3 {
		t.Errorf("%d connections are not quiet, of 3 with a server that hangs", n)
	}
	r := report.Report{Check: &report.Check{Unquiet: 3}}
	if r.Judge(); len(r.Invalid) != 1 {
		t.Errorf("%v", r.Invalid)
	}
}
