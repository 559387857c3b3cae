package main

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/scenario"
)

// TestSplit: the parts are the whole, and every one can be played.
func TestSplit(t *testing.T) {
	for _, name := range scenario.Names() {
		text, err := scenario.Text(name)
		if err != nil {
			t.Fatal(err)
		}
		sc, err := scenario.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		whole := layoutOf(sc)
		for _, n := range []int{1, 3, 7} {
			conns, rooms, largest := 0, 0, 0
			rates := make([]float64, len(sc.Phases))
			for _, part := range split(sc, n) {
				l := layoutOf(part)
				if l.conns != part.Connections {
					t.Errorf("%s: a part of %d connections has rooms for %d", name, part.Connections, l.conns)
				}
				conns, rooms = conns+l.conns, rooms+l.rooms
				for i := range part.Phases {
					rates[i] += part.Phases[i].Rate.To
				}
				for r := range l.rooms {
					largest = max(largest, l.members(r))
				}
			}
			if conns != whole.conns || rooms != whole.rooms || largest != whole.members(0) {
				t.Errorf("%s to %d: %d connections of %d, %d rooms of %d, the largest of %d", name, n, conns, whole.conns, rooms, whole.rooms, largest)
			}
			for i := range rates {
				if want := sc.Phases[i].Rate.To; rates[i] < want*0.999 || rates[i] > want*1.001 {
					t.Errorf("%s to %d: phase %d has a rate of %g of %g", name, n, i, rates[i], want)
				}
			}
		}
	}
}

// TestCrew: three processes play together, and their results are one.
func TestCrew(t *testing.T) {
	url, _ := startChat(t, wrong{}, false)
	code, r, stdout, stderr := loadgen(t, t.Context(), "play", scenarioFile(t, spike), "--url", url, "--workers", "3", "--set", "history=false", "--seed", "7")
	if code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	k := r.Check
	if k.Joined != 20 || k.Sent+k.Unsent < 215 || k.Sent+k.Unsent > 220 || k.Acked+k.Cut != k.Sent || k.Rejoined != k.Closed || k.Rejoined == 0 {
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
	url, _ := startChat(t, mutants[0].wrong(), false)
	code, r, stdout, _ := loadgen(t, t.Context(), "play", "steady", "--url", url, "--workers", "2",
		"--set", "connections=18", "--set", "rooms=2", "--set", "phases.0.for=100ms", "--set", "phases.1.for=700ms", "--set", "drain=3s")
	if faults := strings.Join(r.Faults, ", "); code != exitFaults || !strings.Contains(faults, "2 deliveries lost") { // one in each room
		t.Fatalf("exit code %d\n%s", code, stdout)
	}
}

// TestCrewInterrupted: Ctrl-C ends in the report so far.
func TestCrewInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	url, _ := startChat(t, wrong{also: atMessage(20, func(*chat) { cancel() })}, false)
	_, r, stdout, stderr := loadgen(t, ctx, "play", "steady", "--url", url, "--workers", "2", "--set", "connections=20")
	if !r.Interrupted || r.Check == nil || r.Check.Acked == 0 {
		t.Fatalf("%s%s", stdout, stderr)
	}
}

// TestRemoteWorkers: workers that were started by themselves, and whom the
// secret alone makes work.
func TestRemoteWorkers(t *testing.T) {
	url, _ := startChat(t, wrong{}, false)
	t.Setenv(workerSecret, "a secret of sixteen bytes")
	addr := freeAddr(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() { // ends with ctx
		var out strings.Builder
		done <- execute(environment{ctx: ctx, stdout: &out, stderr: os.Stderr}, []string{"work", "--listen", addr})
	}()
	defer func() {
		cancel()
		<-done
		http.DefaultClient.CloseIdleConnections()
	}()
	for range 3000 {
		if resp, err := http.Post("http://"+addr+"/play", "", nil); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusUnauthorized {
				t.Fatalf("without the secret: %s", resp.Status)
			}
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	args := []string{"play", "steady", "--url", url, "--worker", addr, "--set", "connections=10", "--set", "phases.0.for=100ms", "--set", "phases.1.for=400ms"}
	if code, r, stdout, stderr := loadgen(t, t.Context(), args...); code != exitOK || r.Check.Acked < 90 {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
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
