package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/internal/leaks"
	"github.com/hubbub-chat/hubbub/internal/race"
	"github.com/hubbub-chat/hubbub/loadgen/report"
	"github.com/hubbub-chat/hubbub/netpoll"
	"github.com/hubbub-chat/hubbub/schema"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "null" || os.Args[1] == "run" || os.Args[1] == "work") {
		main() // this binary is the tool, see self
	}
	flag.Parse()
	_ = flag.Set("test.parallel", "4") // what runs in parallel here mostly waits
	leaks.MainThen(m, func(code int) {
		_ = os.RemoveAll(builtIn) // "" when nothing was built, which removes nothing
		os.Exit(code)
	})
}

// loadgen runs a command line in this process.
func loadgen(t testing.TB, ctx context.Context, args ...string) (code int, r report.Report, stdout, stderr string) {
	t.Helper()
	var out bytes.Buffer
	var errs said
	file := filepath.Join(t.TempDir(), "report.json")
	code = execute(environment{ctx: ctx, stdout: &out, stderr: &errs}, append(args, "--json", file))
	if b, err := os.ReadFile(file); err == nil {
		if err := json.Unmarshal(b, &r); err != nil {
			t.Error(err) // not Fatal: it may be another goroutine than the test's
		}
	}
	return code, r, out.String(), errs.String()
}

// said is what is written to stderr: by a run, and by the programs that it
// starts.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// shortRun is a run of 120 messages to 9 members of one room.
func shortRun(url string, more ...string) []string {
	return append([]string{"run", "--url", url, "-c", "9", "--rooms", "1", "-r", strconv.Itoa(400 / race.Factor),
		"--warmup", (100 * race.Factor * time.Millisecond).String(), "-d", (200 * race.Factor * time.Millisecond).String(), "--drain", "200ms", "--join-timeout", "1m"}, more...)
}

func TestCleanRun(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		frames bool
		more   []string
	}{
		{"one loop", false, nil},
		{"two loops", true, []string{"--loops", "2"}},
		{"many rooms", false, []string{"--rooms", "4", "--loops", "2"}},
		{"one talker", false, []string{"--talkers", "1"}},
		{"counting", true, []string{"--count-only", "--sample", "4"}},
		{"counting on two loops", false, []string{"--count-only", "--sample", "9", "--loops", "2"}},
		{"small payload", false, []string{"--payload", "96"}},
		{"many in a turn", false, []string{"-r", strconv.Itoa(race.Scale(5000))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url, _ := startChat(t, wrong{}, c.frames)
			code, r, stdout, stderr := loadgen(t, t.Context(), shortRun(url, c.more...)...)
			if code != exitOK {
				t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
			}
			k := r.Check
			if k.Sent < 100 || k.Acked != k.Sent || r.Connections.Joined != 9 {
				t.Fatalf("counts: %+v", k)
			}
			if r.Connections.Handshake.Count != 9 || r.Messages.Delivery.Count == 0 || r.Messages.Ack.Count == 0 {
				t.Fatalf("latencies: %+v %+v", r.Connections, r.Messages)
			}
		})
	}
}

const target20 = 20 // the message that mutants are wrong about

func just(m schema.Message) []schema.Message { return []schema.Message{m} }

// mutants are servers that are wrong in one way each.
var mutants = []struct {
	name  string
	wrong func() wrong
	fault string // in the report
}{
	{"drop one", func() wrong {
		return wrong{deliver: func(n, i int, m schema.Message) []schema.Message {
			if n == target20 && i == 3 {
				return nil
			}
			return just(m)
		}}
	}, "1 deliveries lost"},
	{"drop the last", func() wrong {
		return wrong{deliver: func(n, i int, m schema.Message) []schema.Message {
			if n == 119 && i == 3 {
				return nil
			}
			return just(m)
		}}
	}, "1 deliveries lost"},
	{"duplicate one", func() wrong {
		return wrong{deliver: func(n, i int, m schema.Message) []schema.Message {
			if n == target20 && i == 3 {
				return []schema.Message{m, m}
			}
			return just(m)
		}}
	}, "1 deliveries duplicated"},
	{"swap two", func() wrong {
		var held schema.Message
		return wrong{deliver: func(n, i int, m schema.Message) []schema.Message {
			if i == 3 && n == target20 {
				held = m
				return nil
			}
			if i == 3 && n == target20+1 {
				return []schema.Message{m, held}
			}
			return just(m)
		}}
	}, "1 deliveries out of order"},
	{"ack without storing", func() wrong {
		return wrong{store: func(n int, m schema.Message) []schema.Message {
			if n == target20 {
				return nil
			}
			return just(m)
		}}
	}, "9 deliveries lost"},
	{"store twice", func() wrong {
		return wrong{store: func(n int, m schema.Message) []schema.Message {
			if n == target20 {
				again := m
				again.Offset++
				return []schema.Message{m, again}
			}
			return just(m)
		}}
	}, "1 deliveries duplicated"},
	{"reuse an offset", func() wrong {
		var last uint64
		return wrong{store: func(n int, m schema.Message) []schema.Message {
			if n == target20 {
				m.Offset = last
			}
			last = m.Offset
			return just(m)
		}}
	}, "unexpected messages"},
	{"another text for one", func() wrong {
		return wrong{deliver: func(n, i int, m schema.Message) []schema.Message {
			if n == target20 && i == 3 {
				m.Data = []byte(`{"text":"hi"}`)
			}
			return just(m)
		}}
	}, "1 unexpected messages"},
	{"another room's", func() wrong {
		return wrong{deliver: func(n, i int, m schema.Message) []schema.Message {
			if n == target20 && i == 3 {
				m.Room = "elsewhere"
			}
			return just(m)
		}}
	}, "1 unexpected messages"},
	{"refuse one", func() wrong {
		return wrong{answer: func(n int) *schema.Error {
			if n == target20 {
				return schema.ErrTooManyRequests
			}
			return nil
		}}
	}, "1 publishes refused"},
	{"close one", func() wrong {
		return wrong{also: func(_ *chat, r *chatRoom, n int) {
			if n == target20 {
				r.members[3].conn.Close(netpoll.Close(schema.CloseSlow))
			}
		}}
	}, "1 connections ended by the server"},
}

func TestMutants(t *testing.T) {
	t.Parallel()
	for _, m := range mutants {
		for _, loops := range []string{"1", "2"} {
			t.Run(m.name+"/"+loops, func(t *testing.T) {
				t.Parallel()
				url, _ := startChat(t, m.wrong(), false)
				code, r, stdout, _ := loadgen(t, t.Context(), shortRun(url, "--loops", loops)...)
				if faults := strings.Join(r.Faults, ", "); code != exitFaults || !strings.Contains(faults, m.fault) {
					t.Fatalf("exit code %d, want the fault %q\n%s", code, m.fault, stdout)
				}
			})
		}
	}
}

// TestCountingMutants: without order, numbers still tell.
func TestCountingMutants(t *testing.T) {
	t.Parallel()
	for _, m := range mutants[:3] {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			url, _ := startChat(t, m.wrong(), false)
			code, r, stdout, _ := loadgen(t, t.Context(), shortRun(url, "--count-only", "--sample", "9")...)
			if faults := strings.Join(r.Faults, ", "); code != exitFaults || !strings.Contains(faults, m.fault) {
				t.Fatalf("exit code %d, want the fault %q\n%s", code, m.fault, stdout)
			}
		})
	}
}

// atMessage does something once, beside the server's loop, when a room has got
// so many messages.
func atMessage(n int, do func(*chat)) func(*chat, *chatRoom, int) {
	var once sync.Once
	return func(s *chat, _ *chatRoom, i int) {
		if i == n {
			once.Do(func() { go do(s) }) // ends by itself
		}
	}
}

func TestServerDies(t *testing.T) {
	t.Parallel()
	url, _ := startChat(t, wrong{also: atMessage(20, func(s *chat) { s.engine.Stop() })}, false)
	began := time.Now()
	code, r, stdout, _ := loadgen(t, t.Context(), shortRun(url, "-d", "10m")...)
	if code != exitFaults || r.Connections.Closes["1006"] != 9 || time.Since(began) > 5*time.Minute {
		t.Fatalf("exit code %d after %v\n%s", code, time.Since(began), stdout)
	}
}

func TestNoServer(t *testing.T) {
	t.Parallel()
	code, r, stdout, _ := loadgen(t, t.Context(), shortRun("ws://127.0.0.1:1/")...)
	if code != exitFaults || r.Connections.Failed != 9 {
		t.Fatalf("exit code %d\n%s", code, stdout)
	}
}

func TestInterrupt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	url, _ := startChat(t, wrong{also: atMessage(100, func(*chat) { cancel() })}, false)
	code, r, stdout, _ := loadgen(t, ctx, shortRun(url, "-d", "10m")...)
	if code != exitOK || !r.Interrupted || r.Check.Acked == 0 {
		t.Fatalf("exit code %d\n%s", code, stdout)
	}
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{
		{"run", "--url", "http://x/"},
		{"run", "--url", "wss://x/"},
		{"run", "--payload", "95"},
		{"run", "--rate", "-1"},
		{"run", "--rate", "x"},
		{"run", "--rooms", "0"},
		{"run", "--rooms", "1001"},
		{"run", "--duration", "0s"},
		{"run", "--loops", "0"},
		{"run", "--connections", "0", "--rooms", "0"},
		{"run", "--connections", "100000000"},
		{"run", "--room-prefix", "a\"b"},
		{"run", "--connect-rate", "0"},
		{"run", "--server-pid", "999999999"},
		{"run", "--nonsense"},
		{"density"},
		{"density", "--server-pid", "1", "--steps", "2,1"},
		{"hostile", "--attacks", "nonsense"},
		{"hostile", "--quiet", "0s"},
		{"nonsense"},
		{},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			code, _, _, stderr := loadgen(t, t.Context(), args...)
			if code != exitUsage || strings.Count(stderr, "\n") != 1 {
				t.Fatalf("exit code %d, said %q", code, stderr)
			}
		})
	}
}
