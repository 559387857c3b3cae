package main

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/hubbub-chat/hubbub/loadgen/hostile"
	"github.com/hubbub-chat/hubbub/loadgen/report"
	"github.com/hubbub-chat/hubbub/netpoll"
	"github.com/hubbub-chat/hubbub/schema"
)

// TestHostile makes every attack on the real server: each attacker ends as it
// should, and the honest lose nothing. What they notice is not asserted. Two servers have
// half of the attacks each: it is mostly waiting.
func TestHostile(t *testing.T) {
	t.Parallel()
	var halves [2][]string
	for i, a := range hostile.All() {
		if a.Name == "half-closed" && os.Getenv("HUBBUB_ENGINE") == "nbio" {
			continue // nbio closes a socket when its peer has ended the other direction
		}
		halves[i%2] = append(halves[i%2], "--attacks", a.Name)
	}
	for i, attacks := range halves {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			attackHubbub(t, attacks)
		})
	}
}

func attackHubbub(t *testing.T, attacks []string) {
	// Frames above the default limit are refused before they are inflated.
	h := startHubbub(t, "127.0.0.1:0", t.TempDir(), "--compression", "--max-size", "262144")
	code, r, stdout, stderr := loadgen(t, t.Context(), append([]string{"hostile", "--url", h.url, "--server-pid", strconv.Itoa(h.cmd.Process.Pid),
		"-c", "20", "--rooms", "4", "-r", "200", "--quiet", "1s", "--attack", "1s", "--drain", "20s"}, attacks...)...)
	if code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if len(r.Hostile.Attacks) != len(attacks)/2 || r.Check.Acked == 0 || r.Check.Lost+r.Check.Duplicated+r.Check.Reordered != 0 {
		t.Fatalf("%d attacks, check %+v", len(r.Hostile.Attacks), r.Check)
	}
	for _, a := range r.Hostile.Attacks {
		if a.Attempts == 0 || a.Sent == 0 || a.Missing != "" || a.During.Count == 0 || a.Before.Count == 0 {
			t.Errorf("%s: %+v", a.Name, a)
		}
	}
}

// TestHostileFinds: servers that an attack does hurt.
func TestHostileFinds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, attack string
		suffer       func(*chat)
		fault        string
	}{
		{"endures a flood", "pings", nil, "pings: no connection was ended in time"},
		{"drops the honest too", "unmasked", func(s *chat) {
			for _, r := range s.rooms {
				if len(r.members) > 0 {
					r.members[0].conn.Close(netpoll.Close(schema.CloseShutdown))
				}
			}
		}, "honest connections ended"},
		{"does as it should", "headers", nil, ""},
		{"takes data of any depth", "commands", nil, "data of 30000 levels (Protobuf): "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			once := false
			url, _ := startChat(t, wrong{closed: func(s *chat, code uint16) {
				if code == 1002 && c.suffer != nil && !once { // the first attacker
					once = true
					c.suffer(s)
				}
			}}, false)
			code, r, stdout, _ := loadgen(t, t.Context(), "hostile", "--url", url, "-c", "8", "--rooms", "2", "-r", "50",
				"--quiet", "200ms", "--attack", "500ms", "--attacks", c.attack)
			faults := strings.Join(r.Faults, ", ")
			if (code == exitFaults) != (c.fault != "") || !strings.Contains(faults, c.fault) {
				t.Fatalf("exit code %d, want the fault %q\n%s", code, c.fault, stdout)
			}
		})
	}
}

// TestHostileJudges: what an attack leaves a server with, and what was not measured.
func TestHostileJudges(t *testing.T) {
	some := report.Quantiles{Count: 1, P99: 1000}
	quiet := report.Attack{Name: "x", Before: some, During: some, After: some, RatioP99: 1, QuietCPU: 20, RestCPU: 30}
	for _, c := range []struct {
		name  string
		spoil func(*report.Attack)
		fault string
	}{
		{"right", func(*report.Attack) {}, ""},
		{"spins", func(a *report.Attack) { a.RestCPU = 119 }, "x: the server does not come to rest: 119% of a core after it, 20% before"},
		{"nothing during it", func(a *report.Attack) { a.During, a.RatioP99 = report.Quantiles{}, 0 }, "nothing was measured"},
		{"nothing beside it", func(a *report.Attack) { a.After = report.Quantiles{} }, "nothing was measured"},
		{"slow", func(a *report.Attack) { a.RatioP99 = 9 }, "9.0 times"},
		{"in a way that is not known", func(a *report.Attack) { a.Growth, a.RestCPU = report.Unknown(), report.Unknown() }, ""},
		{"grown", func(a *report.Attack) { a.Growth = 200 << 20 }, "grew by 200.0 MiB"},
	} {
		a := quiet
		c.spoil(&a)
		h := hostileCmd{MaxRatio: 5, MaxGrowth: 128, MaxRest: 60}
		h.ServerPid = 1
		p := report.Hostile{Attacks: []report.Attack{a}}
		h.judge(&p)
		if got := strings.Join(p.Faults, ", "); (got == "") != (c.fault == "") || !strings.Contains(got, c.fault) {
			t.Errorf("%s: %q, want %q", c.name, got, c.fault)
		}
	}
}

// TestHostileLeavesOut: what a server does not offer cannot be attacked, and
// is said.
func TestHostileLeavesOut(t *testing.T) {
	t.Parallel()
	url, _ := startChat(t, wrong{}, false)
	code, r, stdout, _ := loadgen(t, t.Context(), "hostile", "--url", url, "-c", "2", "--rooms", "1", "-r", "50",
		"--quiet", "100ms", "--attack", "300ms", "--attacks", "deflate-empty")
	if code != exitOK || len(r.Hostile.Attacks) != 1 || r.Hostile.Attacks[0].Missing == "" {
		t.Fatalf("exit code %d\n%s", code, stdout)
	}
}
