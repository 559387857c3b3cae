package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/internal/race"
	"github.com/hubbub-chat/hubbub/loadgen/report"
	"github.com/hubbub-chat/hubbub/netpoll"
	"github.com/hubbub-chat/hubbub/schema"
)

// paced is a scenario that does the same under the race detector, in more time: its
// phases of 100 and 200 ms are longer, and their rate of 450/s is lower by as much.
func paced(text string) string {
	for _, ms := range []int{100, 200} {
		text = strings.ReplaceAll(text, fmt.Sprintf("for: %dms", ms), fmt.Sprintf("for: %dms", ms*race.Factor))
	}
	return strings.ReplaceAll(text, "rate: 450", fmt.Sprintf("rate: %g", 450.0/race.Factor))
}

// scenarioFile writes a scenario into a file.
func scenarioFile(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "scenario.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const spike = `
name: spike
connections: 20
rooms: {count: 5, sizes: zipf}
talk: members
talkers: 50%
payload: [100, 400]
reconnect: {min: 50ms, max: 200ms}
history: true
phases:
  - {name: warm up, for: 200ms, rate: 100, measure: false}
  - {name: before, for: 1s, rate: 40}
  - {name: up, for: 1s, rate: [40, 200], do: {cut: 50%, over: 100ms}}
  - {name: after, for: 1s, rate: 40}
`

// TestPlay: phases with rates of their own, rooms and messages of many sizes,
// and connections that are cut off and come back.
func TestPlay(t *testing.T) {
	t.Parallel()
	for _, loops := range []string{"1", "2"} {
		url, _ := startChat(t, wrong{}, false)
		code, r, stdout, stderr := loadgen(t, t.Context(), "play", scenarioFile(t, spike), "--url", url, "--seed", "7", "--loops", loops)
		if code != exitOK {
			t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
		}
		k := r.Check
		if want := uint64(20 + 40 + 120 + 40); k.Sent+k.Unsent != want || k.Acked+k.Cut != k.Sent {
			t.Errorf("of %d messages: %+v", want, k)
		}
		// Whom it hits is the seed's choice, not the loops'.
		if k.Closed != 10 || k.Rejoined != 10 || r.History.Acked != k.Acked {
			t.Errorf("check %+v, history %+v", k, r.History)
		}
		var names []string
		var delivered int64
		for _, p := range r.Phases {
			names = append(names, p.Name)
			if delivered += p.Delivery.Count; p.Delivery.Count == 0 || p.Ack.Count == 0 {
				t.Errorf("%s: %+v", p.Name, p)
			}
		}
		if got := strings.Join(names, ", "); got != "warm up, before, up, after" {
			t.Errorf("phases %s", got)
		}
		if all := r.Messages.Delivery.Count + r.Phases[0].Delivery.Count; all != delivered || r.Messages.Last.Count == 0 {
			t.Errorf("%d deliveries in the phases, %d in the sum", delivered, all)
		}
	}
}

// TestSpells: who stalls or is silenced reads nothing and says nothing for a time, and then
// has it all.
func TestSpells(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"silence", "stall"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			var pongs atomic.Int64
			url, _ := startChat(t, wrong{also: func(s *chat, r *chatRoom, n int) {
				switch n {
				case 50: // in the second phase
					for _, m := range r.members {
						m.conn.Reply(false, []byte("{}"))
					}
				case 68: // before its end
					pongs.Store(int64(s.pongs))
				}
			}}, false)
			const text = `
name: spells
connections: 200
rooms: 1
talkers: 20
phases:
  - {for: 1s, rate: 20}
  - {for: 4s, rate: 20, do: {WHAT: 30%}}
`
			code, r, stdout, _ := loadgen(t, t.Context(), "play", scenarioFile(t, strings.Replace(text, "WHAT", what, 1)), "--url", url, "--seed", "3")
			if code != exitFaults || r.Check.Unsent == 0 || len(r.Faults) != 1 { // what the talkers did not say
				t.Fatalf("exit code %d\n%s", code, stdout)
			}
			s := r.Connections.Silenced
			if what == "stall" {
				s = r.Connections.Stalled
			}
			if s == nil || s.Kept != s.Members || len(s.Closes) > 0 || pongs.Load() != 140 || s.Members != 60 {
				t.Fatalf("%d of 200 answered the ping, %+v\n%s", pongs.Load(), s, stdout)
			}
		})
	}
}

// TestStalled: a stalled member whose connection the server ends reads how, comes back
// and has what it missed; one that is told to begin anew is counted as such.
func TestStalled(t *testing.T) {
	t.Parallel()
	const text = `
name: stalled
connections: 30
rooms: 1
talkers: 1
reconnect: {min: 20ms, max: 50ms}
phases:
  - {for: 1s, rate: 20}
  - {for: 4s, rate: 20, do: {stall: 30%, for: 3s}}
`
	for _, c := range []struct {
		name string
		end  func(m *chatClient)
		code string
	}{
		{"closed", func(m *chatClient) { m.conn.Close(netpoll.Close(schema.CloseSlow)) }, "3008"},
		{"told", func(m *chatClient) { m.unsubscribe(2500) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url, _ := startChat(t, wrong{also: func(_ *chat, r *chatRoom, n int) {
				if n == 50 { // everybody, in the stall
					for _, m := range slices.Clone(r.members) {
						c.end(m)
					}
				}
			}}, false)
			code, r, stdout, _ := loadgen(t, t.Context(), "play", scenarioFile(t, text), "--url", url, "--seed", "3")
			s := r.Connections.Stalled
			if code != exitOK || s == nil || s.Members != 9 || s.Kept != 0 || r.Check.Rejoined != 30 {
				t.Fatalf("exit code %d, %+v\n%s", code, s, stdout)
			}
			if c.code == "" && s.Anew != s.Members || c.code != "" && s.Closes[c.code] != s.Members {
				t.Fatalf("%+v\n%s", s, stdout)
			}
		})
	}
}

// TestLoad: members of a server that has lost messages on their way, and says so, read
// them from the history; what is not there either is lost.
func TestLoad(t *testing.T) {
	t.Parallel()
	const text = `
name: reset
connections: 9
rooms: 1
reconnect: {min: 20ms, max: 50ms}
expect: {unrecovered: true}
phases:
  - {for: 3s, rate: 40}
`
	const from, to = 20, 30 // lost on their way
	for _, c := range []struct {
		name  string
		wrong wrong
		again bool // it says so twice
		loads uint64
		fault string
	}{
		{"exact", wrong{}, false, 99, ""},
		{"one is not in the history", wrong{forgets: func(n int) bool { return n == 25 }}, false, 90, "9 deliveries lost"},
		{"it is, after a while", wrong{forgets: func(n int) bool { return n == 25 },
			also: func(_ *chat, r *chatRoom, n int) {
				if n == 45 {
					at, _ := slices.BinarySearchFunc(r.recent, r.forgotten[0].Offset, func(m schema.Message, o uint64) int { return cmp.Compare(m.Offset, o) })
					r.recent = slices.Insert(r.recent, at, r.forgotten[0])
				}
			}}, true, 99, ""},
		{"another message stands there", wrong{store: func(n int, m schema.Message) []schema.Message {
			if n == 25 {
				m.Data = []byte(`{"text":"hi"}`)
			}
			return just(m)
		}}, false, 90, "9 unexpected messages"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := c.wrong
			w.unrecoverable = true
			w.deliver = func(n, _ int, m schema.Message) []schema.Message {
				if n >= from && n <= to {
					return nil
				}
				return just(m)
			}
			w.also = func(s *chat, r *chatRoom, n int) {
				if c.wrong.also != nil {
					c.wrong.also(s, r, n)
				}
				if n == to || c.again && n == 50 {
					for _, m := range slices.Clone(r.members) {
						m.unsubscribe(2500)
					}
				}
			}
			url, _ := startChat(t, w, false)
			code, r, stdout, _ := loadgen(t, t.Context(), "play", scenarioFile(t, text), "--url", url, "--loops", "2",
				"--set", "drain=3s")
			faults := strings.Join(r.Faults, ", ")
			if (code == exitFaults) != (c.fault != "") || !strings.Contains(faults, c.fault) {
				t.Fatalf("exit code %d, want the fault %q\n%s", code, c.fault, stdout)
			}
			if r.Check.Loaded < c.loads || r.Check.Unrecovered < 9 || r.Connections.Page.Count < 9 {
				t.Fatalf("%d loaded, want %d; %d pages\n%s", r.Check.Loaded, c.loads, r.Connections.Page.Count, stdout)
			}
		})
	}
}

// TestScroll: pages of the history are read while clients talk, and a wrong one is found.
func TestScroll(t *testing.T) {
	t.Parallel()
	type pubs = []*protocol.Publication
	at := func(n int, do func(pubs) pubs) func(int, pubs) pubs {
		return func(k int, p pubs) pubs {
			if (k == n || k == n+1) && len(p) > 2 { // one backwards, one forwards
				return do(p)
			}
			return p
		}
	}
	for _, c := range []struct {
		name  string
		page  func(int, pubs) pubs
		wrong uint64
	}{
		{"right", nil, 0},
		{"one left out", at(60, func(p pubs) pubs { return slices.Delete(p, 1, 2) }), 2},
		{"the first left out", at(60, func(p pubs) pubs { return p[1:] }), 2},
		{"empty", at(60, func(pubs) pubs { return nil }), 2},
		{"one twice", at(60, func(p pubs) pubs { return slices.Insert(p, 1, p[0]) }), 2},
		{"in another order", at(60, func(p pubs) pubs { slices.Reverse(p); return p }), 2},
		{"another text", at(60, func(p pubs) pubs { p[1].Data = p[2].Data; return p }), 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url, _ := startChat(t, wrong{page: c.page}, false)
			const text = `
name: scroll
connections: 9
rooms: 1
history_rate: 40
history_page: 5
phases:
  - {for: 3s, rate: 40}
`
			code, r, stdout, _ := loadgen(t, t.Context(), "play", scenarioFile(t, text), "--url", url, "--loops", "2")
			if (code == exitFaults) != (c.wrong > 0) || r.Check.PagesWrong != c.wrong {
				t.Fatalf("exit code %d, want %d wrong pages\n%s", code, c.wrong, stdout)
			}
			if r.Check.Pages < 100 || r.Check.Pages+r.Check.PagesUnsent+r.Check.PagesCut != 120 || uint64(r.Connections.Page.Count) != r.Check.Pages {
				t.Fatalf("%d pages, %+v\n%s", r.Check.Pages, r.Connections.Page, stdout)
			}
		})
	}
}

// TestTokens: clients connect to the real server with tokens that end, and
// refresh them without losing their connection.
func TestTokens(t *testing.T) {
	const secret = "a secret of the tests, long enough"
	h := startHubbub(t, "127.0.0.1:0", t.TempDir(), "--token-key", "hs256:"+secret)
	t.Setenv(tokenSecret, secret)
	code, r, stdout, stderr := loadgen(t, t.Context(), "play", "token-expiry", "--url", h.url,
		"--set", "connections=20", "--set", "rooms=2", "--set", "tokens.ttl=2s", "--set", "phases.0.for=5s")
	if code != exitOK || r.Connections.Refresh.Count < 20 || len(r.Connections.Errors) > 0 {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	t.Setenv(tokenSecret, "another secret that is long enough")
	if code, r, stdout, _ = loadgen(t, t.Context(), "play", "token-expiry", "--url", h.url,
		"--set", "connections=4", "--set", "rooms=2", "--set", "phases.0.for=1s"); code != exitFaults || r.Connections.Failed != 4 {
		t.Fatalf("exit code %d with the wrong secret\n%s", code, stdout)
	}
}

// TestCommand: a program runs beside a phase; one that fails is a fault.
func TestCommand(t *testing.T) {
	t.Parallel()
	url, _ := startChat(t, wrong{}, false)
	file := filepath.Join(t.TempDir(), "touched")
	text := strings.ReplaceAll(`
name: command
connections: 2
rooms: 1
phases:
  - {for: 100ms, rate: 50, do: {command: [touch, "FILE{n}"]}}
  - {for: 100ms, rate: 50, do: {command: [touch, "FILE{n}"]}}
  - {for: 100ms, rate: 50, do: {command: ["false"]}}
`, "FILE", file)
	code, r, stdout, _ := loadgen(t, t.Context(), "play", scenarioFile(t, text), "--url", url)
	if faults := strings.Join(r.Faults, ", "); code != exitFaults || !strings.Contains(faults, "phase 3: false: exit status 1") {
		t.Fatalf("exit code %d\n%s", code, stdout)
	}
	for _, n := range []string{"0", "1"} {
		if _, err := os.Stat(file + n); err != nil {
			t.Error(err)
		}
	}
}

// TestExpect: what a scenario promises is judged.
func TestExpect(t *testing.T) {
	t.Parallel()
	url, _ := startChat(t, wrong{}, false)
	code, r, stdout, _ := loadgen(t, t.Context(), "play", scenarioFile(t, spike), "--url", url, "--set", "expect.p99=1us", "--set", "expect.ack_p99=1h")
	if code != exitFaults || len(r.Faults) != 1 || !strings.Contains(r.Faults[0], "delivery p99") {
		t.Fatalf("exit code %d\n%s", code, stdout)
	}
}

// TestPlayServerDies: a server that dies in the midst of a scenario in which
// clients come back ends in a report.
func TestPlayServerDies(t *testing.T) {
	t.Parallel()
	url, _ := startChat(t, wrong{also: atMessage(10, func(s *chat) { s.engine.Stop() })}, false)
	code, r, stdout, _ := loadgen(t, t.Context(), "play", scenarioFile(t, spike), "--url", url, "--set", "drain=1s", "--history-wait", "1s")
	if code != exitFaults || r.Check.Away != 20 {
		t.Fatalf("exit code %d\n%s", code, stdout)
	}
}

func TestPlayInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	url, _ := startChat(t, wrong{also: atMessage(20, func(*chat) { cancel() })}, false)
	_, r, stdout, _ := loadgen(t, ctx, "play", "steady", "--url", url, "--set", "connections=20")
	if !r.Interrupted || r.Check.Acked == 0 {
		t.Fatal(stdout)
	}
}

// TestBadScenarios: one line before anything starts, which names the limit.
func TestBadScenarios(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"nonsense"}, "built in are"},
		{[]string{"steady", "--set", "conections=5"}, "unknown key conections"},
		{[]string{"steady", "--set", "phases.1.rate=1000000"}, "--loops"},
		{[]string{"one-room", "--set", "phases.1.rate=10000"}, "100000000 deliveries/s"},
		{[]string{"steady", "--set", "connections=100000000"}, "RLIMIT_NOFILE"},
		{[]string{"token-expiry"}, tokenSecret},
	} {
		code, _, _, stderr := loadgen(t, t.Context(), append([]string{"play"}, c.args...)...)
		if code != exitUsage || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: exit code %d, said %q", c.args, code, stderr)
		}
	}
	code, _, stdout, _ := func() (int, report.Report, string, string) {
		var out strings.Builder
		return execute(environment{ctx: t.Context(), stdout: &out, stderr: os.Stderr}, []string{"scenarios"}), report.Report{}, out.String(), ""
	}()
	if code != exitOK || !strings.Contains(stdout, "reconnect-storm") {
		t.Errorf("exit code %d, %s", code, stdout)
	}
}
