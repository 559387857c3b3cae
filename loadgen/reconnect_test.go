package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/internal/race"
	"github.com/hubbub-chat/hubbub/loadgen/report"
	"github.com/hubbub-chat/hubbub/netpoll"
	"github.com/hubbub-chat/hubbub/schema"
)

// closesOne is a server that ends the connection of one member at message 20,
// by which it misses some.
func closesOne(w wrong, code schema.Close) wrong {
	w.also = func(_ *chat, r *chatRoom, n int) {
		if n == target20 && len(r.members) > 3 {
			r.members[3].conn.Close(netpoll.Close(code))
		}
	}
	return w
}

// TestComesBack: a member whose connection ended comes back and is owed every
// message it missed.
func TestComesBack(t *testing.T) {
	t.Parallel()
	type pubs = []*protocol.Publication
	for _, c := range []struct {
		name  string
		wrong wrong
		code  schema.Close
		fault string // empty: none
	}{
		{"exactly", wrong{}, schema.CloseShutdown, ""},
		{"one too few", wrong{recover: func(p pubs) pubs { return p[1:] }}, schema.CloseShutdown, "1 deliveries lost"},
		{"one twice", wrong{recover: func(p pubs) pubs { return append(p, p[len(p)-1]) }}, schema.CloseShutdown, "1 deliveries duplicated"},
		{"out of order", wrong{recover: func(p pubs) pubs { slices.Reverse(p); return p }}, schema.CloseShutdown, "deliveries out of order"},
		{"nothing", wrong{recover: func(pubs) pubs { return nil }}, schema.CloseShutdown, "deliveries lost"},
		{"is told that it cannot", wrong{unrecoverable: true}, schema.CloseShutdown, "1 recoveries refused"},
		{"must not", wrong{}, schema.CloseForceNoReconnect, "connections ended for good"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url, _ := startChat(t, closesOne(c.wrong, c.code), false)
			away := (60 * race.Factor * time.Millisecond).String() // some ten messages
			code, r, stdout, stderr := loadgen(t, t.Context(), shortRun(url, "--reconnect", "--reconnect-min", away, "--reconnect-max", away,
				"--drain", "500ms", "--seed", "7", "--warmup", "0s")...)
			faults := strings.Join(r.Faults, ", ")
			if (code == exitFaults) != (c.fault != "") || !strings.Contains(faults, c.fault) {
				t.Fatalf("exit code %d, want the fault %q\n%s%s", code, c.fault, stdout, stderr)
			}
			if c.fault == "" && (r.Check.Rejoined != 1 || r.Messages.Recovered.Count == 0 || r.Connections.Recovery.Count != 1) {
				t.Fatalf("check %+v\n%s", r.Check, stdout)
			}
		})
	}
}

// TestHistoryMutants: what was acknowledged has to be found again.
func TestHistoryMutants(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		wrong func() wrong
		fault string
	}{
		{"right", func() wrong { return wrong{} }, ""},
		{"ack before storing", func() wrong { return wrong{forgets: func(n int) bool { return n == target20 }} }, "1 acknowledged messages missing in history"},
		{"the last is not stored", func() wrong { return wrong{forgets: func(n int) bool { return n == 119 }} }, "1 acknowledged messages missing in history"},
		{"stored as another", func() wrong {
			return wrong{also: func(_ *chat, r *chatRoom, n int) {
				if n == target20 {
					r.recent[n].Data = r.recent[n-1].Data
				}
			}}
		}, "1 messages that nobody should find in history, 1 messages twice in history"},
		{"a foreign one", func() wrong {
			return wrong{also: func(_ *chat, r *chatRoom, n int) {
				if n == target20 {
					m := r.recent[n]
					m.Offset++
					m.Data = []byte(`{"text":"hi"}`)
					r.recent = append(r.recent, m)
				}
			}}
		}, "1 messages that nobody should find in history"},
		{"out of order", func() wrong {
			return wrong{also: func(_ *chat, r *chatRoom, n int) {
				if n == target20 {
					r.recent[n], r.recent[n-1] = r.recent[n-1], r.recent[n]
				}
			}}
		}, "1 messages out of order in history"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url, _ := startChat(t, c.wrong(), false)
			file := filepath.Join(t.TempDir(), "acked")
			code, r, stdout, stderr := loadgen(t, t.Context(), shortRun(url, "--history", "--history-wait", "300ms", "--acked-file", file)...)
			faults := strings.Join(r.Faults, ", ")
			if (code == exitFaults) != (c.fault != "") || !strings.Contains(faults, c.fault) {
				t.Fatalf("exit code %d, want the fault %q\n%s%s", code, c.fault, stdout, stderr)
			}
			lines, err := os.ReadFile(file)
			if n := bytes.Count(lines, []byte("\n")); err != nil || n != int(r.Check.Acked) || n != int(r.History.Acked) || n < 100 {
				t.Fatalf("%d lines of %d acknowledged messages, %d looked for, %v", n, r.Check.Acked, r.History.Acked, err)
			}
			if r.History.Page.Count == 0 || r.History.Pages < 10 {
				t.Fatalf("history %+v", r.History)
			}
		})
	}
}

// TestSurvivesAKill runs against the real server, which dies by kill -9 in the
// midst of it and comes back: nothing that was acknowledged is gone, and every
// member gets exactly what it missed.
func TestSurvivesAKill(t *testing.T) {
	t.Parallel()
	addr, dir := freeAddr(t), t.TempDir()
	h := startHubbub(t, addr, dir)
	type ran struct {
		code           int
		r              report.Report
		stdout, stderr string
	}
	done := make(chan ran, 1)
	go func() { // ends with the run
		code, r, stdout, stderr := loadgen(t, t.Context(), "run", "--url", h.url, "-c", "40", "--rooms", "4", "-r", "400", "--warmup", "0s",
			"-d", "4s", "--drain", "1m", "--join-timeout", "1m", "--reconnect", "--reconnect-max", "1s", "--history", "--loops", "2")
		done <- ran{code, r, stdout, stderr}
	}()
	h.until(t, "hubbub_subscriptions", 40)
	h.until(t, "hubbub_publish_ack_seconds_count", 500)
	h.kill()
	time.Sleep(300 * time.Millisecond)
	startHubbub(t, addr, dir)
	got := <-done
	k := got.r.Check
	if got.code != exitOK || k.Rejoined < 40 || k.Acked < 400 || got.r.History.Acked < 400 {
		t.Fatalf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	t.Logf("%d acknowledged, %d cut off, %d recovered deliveries", k.Acked, k.Cut, got.r.Messages.Recovered.Count)
}

// TestSeveralURLs: clients go to the addresses in turn, and on to the next
// when one does not answer.
func TestSeveralURLs(t *testing.T) {
	t.Parallel()
	url, _ := startChat(t, wrong{}, false)
	dead := "ws://" + freeAddr(t) + "/connection/websocket"
	code, r, stdout, stderr := loadgen(t, t.Context(), shortRun(dead, "--url", url, "--reconnect", "--reconnect-min", "10ms", "--drain", "30s")...)
	if code != exitOK || r.Connections.Joined != 9 || r.Connections.Retried < 4 {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// freeAddr is an address that nobody listens on, and that no outgoing connection
// has for its own meanwhile.
func freeAddr(t testing.TB) string { t.Helper(); return backends.Addr(t) }
