package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/hubbub-chat/hubbub/schema"
)

// oneRoom is a scenario of a room that is too large for one of two workers.
var oneRoom = paced(`
name: one room
connections: 9
rooms: 1
payload: 120
drain: 300ms
phases:
  - {name: warm up, for: 100ms, rate: 450, measure: false}
  - {name: measure, for: 200ms, rate: 450}
`)

// TestSharedRoom: a room over several workers is as right as one in one.
func TestSharedRoom(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		shared int
		more   []string
	}{
		{"two workers", 1, []string{"--workers", "2"}},
		{"as many as members", 1, []string{"--workers", "9"}},
		{"few talkers", 1, []string{"--workers", "3", "--set", "talkers=2"}},
		{"counting", 1, []string{"--workers", "2", "--set", "count_only=3"}},
		{"two loops", 1, []string{"--workers", "2", "--loops", "2"}},
		{"one large and some small", 1, []string{"--workers", "2", "--set", "connections=20", "--set", "rooms={groups: [{count: 1, members: 12}, {count: 4, members: 2}]}"}},
		{"by members", 1, []string{"--workers", "2", "--set", "connections=20", "--set", "talk=members", "--set", "rooms={groups: [{count: 1, members: 12}, {count: 4, members: 2}]}"}},
		{"whole rooms", 0, []string{"--workers", "3", "--set", "rooms=3"}},
		{"with cuts", 1, []string{"--workers", "2", "--set", "reconnect={min: 20ms}", "--set", "phases.1.for=800ms", "--set", "phases.1.do={cut: 50%}"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url, _ := startChat(t, wrong{}, false)
			args := append([]string{"play", scenarioFile(t, oneRoom), "--url", url, "--seed", "3"}, c.more...)
			code, r, stdout, stderr := loadgen(t, t.Context(), args...)
			k := r.Check
			if code != exitOK || k.Shared != c.shared || k.Sent < 100 || k.Acked+k.Cut != k.Sent || r.Messages.Delivery.Count == 0 {
				t.Fatalf("exit code %d, %+v\n%s%s", code, k, stdout, stderr)
			}
			if k.Closed != k.Rejoined || k.Closed == 0 && k.Delivered != k.Sent*9 && c.name != "one large and some small" && c.name != "by members" && c.shared > 0 {
				t.Errorf("%+v", k)
			}
		})
	}
}

// TestSharedMutants: what is caught in one process is caught over two, with
// the same counts.
func TestSharedMutants(t *testing.T) {
	t.Parallel()
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			url, _ := startChat(t, m.wrong(), false)
			code, r, stdout, _ := loadgen(t, t.Context(), "play", scenarioFile(t, oneRoom), "--url", url, "--workers", "2")
			if faults := strings.Join(r.Faults, ", "); code != exitFaults || !strings.Contains(faults, m.fault) || r.Check.Shared != 1 {
				t.Fatalf("exit code %d, want the fault %q\n%s", code, m.fault, stdout)
			}
		})
	}
}

// halves are servers that are wrong in a way that none of two workers can see
// by itself: the first has connections 0 to 4, the second 5 to 8.
var halves = []struct {
	name  string
	wrong func() wrong
	fault string
}{
	{"another order", func() wrong {
		var held schema.Message
		return wrong{show: func(n, publisher int, m schema.Message) []schema.Message {
			switch {
			case n != target60 && n != target60+1:
				return just(m)
			case n == target60:
				if held = m; publisher < 5 {
					return just(m)
				}
				return nil
			case publisher < 5:
				return just(m)
			}
			// The same offsets, and the messages changed places.
			first, second := m, held
			first.Offset, second.Offset = held.Offset, m.Offset
			return []schema.Message{first, second}
		}}
	}, "8 unexpected messages"}, // two for each of four
	{"nothing of one", func() wrong {
		return wrong{show: func(n, publisher int, m schema.Message) []schema.Message {
			if n == target60 && publisher >= 5 {
				return nil
			}
			return just(m)
		}}
	}, "4 deliveries lost"},
	{"nothing of the last", func() wrong {
		return wrong{show: func(n, publisher int, m schema.Message) []schema.Message {
			if n >= 130 && publisher < 5 {
				return nil
			}
			return just(m)
		}}
	}, "deliveries lost"},
	{"another offset", func() wrong {
		return wrong{store: func(n int, m schema.Message) []schema.Message {
			if n == target60 {
				m.Offset++ // so that nobody has the one before
			}
			return just(m)
		}, show: func(n, publisher int, m schema.Message) []schema.Message {
			if n == target60 && publisher >= 5 {
				m.Offset--
			}
			return just(m)
		}}
	}, "9 deliveries lost, 1 deliveries duplicated"}, // each offset by those who were shown the other
	{"one that nobody said", func() wrong {
		return wrong{store: func(n int, m schema.Message) []schema.Message {
			if n != target60 {
				return just(m)
			}
			ghost := m
			ghost.Offset++
			ghost.Data = bytes.Clone(m.Data)
			ghost.Data[bytes.Index(m.Data, []byte(`"p":`))+len(`"p":`)] = '9' // there are 0 to 8
			return []schema.Message{m, ghost}
		}}
	}, "1 unexpected messages"},
}

const target60 = 60 // by then all have said something

func TestSharedHalves(t *testing.T) {
	t.Parallel()
	for _, m := range halves {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			url, _ := startChat(t, m.wrong(), false)
			code, r, stdout, _ := loadgen(t, t.Context(), "play", scenarioFile(t, oneRoom), "--url", url, "--workers", "2")
			if faults := strings.Join(r.Faults, ", "); code != exitFaults || !strings.Contains(faults, m.fault) || r.Check.Shared != 1 {
				t.Fatalf("exit code %d, want the fault %q\n%s", code, m.fault, stdout)
			}
			if strings.Contains(fmt.Sprint(r.Expected), "worker") {
				t.Errorf("found by one worker alone: %v", r.Expected)
			}
		})
	}
}
