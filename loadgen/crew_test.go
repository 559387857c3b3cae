package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/scenario"
)

// TestDeal: the portions are the whole, each can be played, and only a room
// that is larger than its share is dealt to several.
func TestDeal(t *testing.T) {
	for _, name := range append(scenario.Names(), "one large", "few talkers", "counted") {
		sc := dealtScenario(t, name)
		whole := layoutOf(sc)
		p := plan{layout: &whole, talkers: share{sc.Talkers.Number, sc.Talkers.Fraction}}
		for _, n := range []int{1, 2, 3, 7} {
			members, talkers, parts, weight := map[int]int{}, map[int]int{}, map[int]int{}, map[int]int{}
			rates, first := make([]float64, len(sc.Phases)), uint32(0)
			for _, part := range deal(sc, n, sc.Connections, false) {
				l := part.layout()
				if l.conns != part.Scenario.Connections || l.rooms != len(part.Rooms) || part.First != first {
					t.Errorf("%s to %d: %d connections from %d on, rooms for %d", name, n, part.Scenario.Connections, part.First, l.conns)
				}
				first += uint32(l.conns)
				if fair := (whole.conns + n - 1) / n; l.conns > 2*fair {
					t.Errorf("%s to %d: %d connections in one portion, of %d", name, n, l.conns, whole.conns)
				}
				for r, d := range part.Rooms {
					if l.members(r) != d.Members || d.Talkers > d.Members || d.Weight > 0 && d.Talkers == 0 {
						t.Errorf("%s to %d: %+v, a room of %d", name, n, d, l.members(r))
					}
					members[d.Number] += d.Members
					talkers[d.Number] += d.Talkers
					weight[d.Number] += d.Weight
					if parts[d.Number]++; d.Shared != (members[d.Number] < whole.members(d.Number) || parts[d.Number] > 1) {
						t.Errorf("%s to %d: %+v of a room of %d", name, n, d, whole.members(d.Number))
					}
				}
				for i := range part.Scenario.Phases {
					rates[i] += part.Scenario.Phases[i].Rate.To
				}
			}
			for r := range whole.rooms {
				if members[r] != whole.members(r) || talkers[r] != p.talkersOf(r) || sc.Talk != "members" && weight[r] != alike(whole.rooms) {
					t.Errorf("%s to %d: room %d has %d members of %d, %d talkers of %d, weight %d", name, n, r,
						members[r], whole.members(r), talkers[r], p.talkersOf(r), weight[r])
				}
			}
			for i := range rates {
				if want := sc.Phases[i].Rate.To; rates[i] < want*0.999 || rates[i] > want*1.001 {
					t.Errorf("%s to %d: phase %d has a rate of %g of %g", name, n, i, rates[i], want)
				}
			}
		}
	}
}

func dealtScenario(t *testing.T, name string) *scenario.Scenario {
	t.Helper()
	const rest = "name: x\nphases: [{for: 1s, rate: 700}]\n"
	text, ok := map[string][]byte{
		"one large":   []byte(rest + "connections: 1000\nrooms: {groups: [{count: 1, members: 800}, {count: 20, members: 10}]}\n"),
		"few talkers": []byte(rest + "connections: 100\nrooms: 1\ntalkers: 2\n"),
		"counted":     []byte(rest + "connections: 1001\nrooms: 2\ncount_only: 50\n"),
	}[name]
	if !ok {
		var err error
		if text, err = scenario.Text(name); err != nil {
			t.Fatal(err)
		}
	}
	sc, err := scenario.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return sc
}

// TestDealToFiles: no worker is given more than it can hold, and a room is kept
// whole where it may not be shared.
func TestDealToFiles(t *testing.T) {
	sc, err := scenario.Parse([]byte("name: x\nconnections: 99\nrooms: 3\nphases: [{for: 1s, rate: 1}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		files int
		whole bool
		want  []int
	}{{99, false, []int{66, 33}}, {55, false, []int{50, 49}}, {55, true, []int{66, 33}}} {
		var got []int
		for _, part := range deal(sc, 2, c.files, c.whole) {
			got = append(got, part.Scenario.Connections)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: dealt %v", c, got)
		}
	}
}

// TestCrew: three processes play together, and their results are one.
func TestCrew(t *testing.T) {
	t.Parallel()
	url, _ := startChat(t, wrong{}, false)
	code, r, stdout, stderr := loadgen(t, t.Context(), "play", scenarioFile(t, spike), "--url", url, "--workers", "3", "--seed", "7")
	if code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	k := r.Check
	if k.Joined != 20 || k.Sent+k.Unsent < 215 || k.Sent+k.Unsent > 220 || k.Acked+k.Cut != k.Sent || k.Rejoined != k.Closed || k.Closed != 10 || r.History.Acked != k.Acked {
		t.Errorf("%+v", k)
	}
	if r.Tool.Workers != 3 || len(r.Phases) != 4 || r.Connections.Handshake.Count < 20 || len(r.Curves) < 8 {
		t.Errorf("%+v, %d phases, %d curves", r.Tool, len(r.Phases), len(r.Curves))
	}
	var delivered int64
	for _, p := range r.Phases[1:] {
		if delivered += p.Delivery.Count; p.Delivery.Count == 0 {
			t.Errorf("%s: %+v", p.Name, p)
		}
	}
	if delivered != r.Messages.Delivery.Count {
		t.Errorf("%d deliveries in the phases, %d in the sum", delivered, r.Messages.Delivery.Count)
	}
}

// TestCrewFinds: a mutant is caught by the worker whose room it was.
func TestCrewFinds(t *testing.T) {
	t.Parallel()
	url, _ := startChat(t, mutants[0].wrong(), false)
	code, r, stdout, _ := loadgen(t, t.Context(), "play", "steady", "--url", url, "--workers", "2",
		"--set", "connections=18", "--set", "rooms=2", "--set", "phases.0.for=100ms", "--set", "phases.1.for=700ms", "--set", "drain=300ms")
	if faults := strings.Join(r.Faults, ", "); code != exitFaults || !strings.Contains(faults, "2 deliveries lost") { // one in each room
		t.Fatalf("exit code %d\n%s", code, stdout)
	}
}

// TestCrewInterrupted: Ctrl-C ends in the report so far, before all are there
// too, and with a room that they wait for each other in.
func TestCrewInterrupted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		join bool // it comes while they join
		more []string
	}{
		{"whole rooms", false, nil},
		{"a shared room", false, []string{"--set", "rooms=1"}},
		{"while they join", true, []string{"--set", "rooms=1", "--set", "connect_rate=2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			url, _ := startChat(t, wrong{also: atMessage(20, func(*chat) { cancel() })}, false)
			if c.join {
				defer time.AfterFunc(time.Second, cancel).Stop()
			}
			_, r, stdout, stderr := loadgen(t, ctx, append([]string{"play", "steady", "--url", url, "--workers", "2", "--set", "connections=20"}, c.more...)...)
			if !r.Interrupted || r.Check == nil || !c.join && (r.Check.Acked == 0 || r.Check.Lost+r.Check.Unexpected > 0) {
				t.Fatalf("%s%s", stdout, stderr)
			}
		})
	}
}

// TestRemoteWorkers: workers that were started by themselves, and whom the
// secret alone makes work.
func TestRemoteWorkers(t *testing.T) {
	url, _ := startChat(t, wrong{}, false)
	t.Setenv(workerSecret, "a secret of sixteen bytes")
	addr, other := startWorker(t), startWorker(t)
	defer http.DefaultClient.CloseIdleConnections()
	resp, err := http.Post("http://"+addr+"/play", "", nil)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		t.Fatalf("without the secret: %v, %v", resp, err)
	}
	_ = resp.Body.Close() // a line
	args := []string{"play", "steady", "--url", url, "--worker", addr, "--set", "connections=10", "--set", "phases.0.for=100ms", "--set", "phases.1.for=400ms"}
	if code, r, stdout, stderr := loadgen(t, t.Context(), args...); code != exitOK || r.Check.Acked < 90 {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	code, r, stdout, stderr := loadgen(t, t.Context(), append(args, "--worker", other, "--set", "rooms=1")...)
	if code != exitOK || r.Check.Shared != 1 || r.Check.Acked < 90 || r.Tool.ClockError <= 0 || r.Tool.ClockError > 1e6 {
		t.Fatalf("two of them: exit code %d, clocks within %gµs\n%s%s", code, r.Tool.ClockError, stdout, stderr)
	}
	t.Setenv(workerSecret, "another secret of sixteen")
	if code, _, _, stderr := loadgen(t, t.Context(), args...); code != exitFaults || !strings.Contains(stderr, "401") || strings.Contains(stderr, "sixteen") {
		t.Fatalf("with another secret: exit code %d, %s", code, stderr)
	}
	t.Setenv(workerSecret, "short")
	if code, _, _, _ := loadgen(t, t.Context(), args...); code != exitUsage {
		t.Fatalf("with a weak secret: exit code %d", code)
	}
}

// startWorker is a worker in this process, by its address.
func startWorker(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	said, says := io.Pipe()
	done := make(chan int, 1)
	go func() { // ends with ctx
		done <- execute(environment{ctx: ctx, stdout: says, stderr: os.Stderr}, []string{"work", "--listen", "127.0.0.1:0"})
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	line, err := bufio.NewReader(said).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// TestClocks: how far a worker's clock is off is found, and left alone where it
// may well be nothing.
func TestClocks(t *testing.T) {
	for _, off := range []time.Duration{0, 5 * time.Second, -3 * time.Hour} {
		theirs := newClock(off)
		worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(theirs.now()) }))
		c := &coordinator{env: environment{ctx: t.Context()}, clock: newClock(0), workers: []string{worker.Listener.Addr().String()}}
		err := c.compareClocks(t.Context())
		got := c.clocks[0]
		if err != nil || (got.by+off).Abs() > got.off+10*time.Millisecond || off == 0 && got.ahead() > 10*time.Millisecond || off != 0 && got.ahead() != got.by {
			t.Errorf("a clock that is ahead by %v: %+v, %v", off, got, err)
		}
		if most := c.clockError(t.Context()); most > time.Second {
			t.Errorf("a clock that is ahead by %v: off by %v", off, most)
		}
		c.client.CloseIdleConnections()
		worker.Close()
	}
}
