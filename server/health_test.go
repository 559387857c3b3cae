package main

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/centrifugal/protocol"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/sink"
)

// web reads a page of the node's web server.
func (h *harness) web(path string) (status int, body string) {
	h.t.Helper()
	resp, err := http.Get("http://" + h.addr() + path)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(b))
}

// state is what the metrics say of a back end.
func (h *harness) state(backend string) (state string) {
	h.t.Helper()
	_, metrics := h.web("/metrics")
	for _, s := range []string{"answers", "refuses", "silent"} {
		if strings.Contains(metrics, fmt.Sprintf("hubbub_backend_state{backend=%q,state=%q} 1\n", backend, s)) {
			state += s
		}
	}
	return state
}

// lines counts those of the log about a back end.
func (h *harness) lines(backend string) int {
	return h.logs.FilterField(zap.String("backend", backend)).Len()
}

// tryPublish publishes and returns the reply.
func (c *client) tryPublish(room, data string) *protocol.Reply {
	c.t.Helper()
	return c.call(&protocol.Command{Publish: &protocol.PublishRequest{Channel: room, Data: []byte(data)}})
}

// A room whose newest message was stored by a clock that was a year ahead: a node
// that loads it says so, in its log and in its metrics.
func TestClockWasAhead(t *testing.T) {
	t.Parallel() // it waits for the next look at all rooms
	h := start(t, func(o *options) {
		o.shared = newLedger() // nobody sent what is in the store
		store, err := sink.OpenSQLite(o.Data, sink.SyncNormal, nil)
		if err != nil {
			t.Fatal(err)
		}
		ahead := schema.NextOffset(0, time.Now().AddDate(1, 0, 0))
		if err := store.Append(t.Context(), []*schema.Message{{Room: "lobby", Offset: ahead, Data: []byte(`{}`)}}); err != nil {
			t.Fatal(err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	})
	c := h.client(schema.JSON)
	c.subscribe("lobby")
	c.subscribe("another")
	told := func() *observer.ObservedLogs { return h.logs.FilterMessageSnippet("is ahead of the clock") }
	eventually(t, "the log names the room", func() bool { return told().FilterField(zap.String("room", "lobby")).Len() == 1 })
	if _, metrics := h.web("/metrics"); told().Len() != 1 || !strings.Contains(metrics, "\nhubbub_rooms_ahead 1\n") {
		t.Errorf("logged %v; the metrics do not count one room", told().All())
	}
}

// A full disk under a node alone: publishes are refused, readiness, metrics and
// one line of the log say why, and all that ends by itself.
func TestFullDisk(t *testing.T) {
	disk := backends.NewDisk(t, 16<<20)
	h := start(t, func(o *options) { o.Data, o.failing = filepath.Join(disk.Dir, "data"), true })
	room := roomOf(t)
	c := h.client(schema.JSON)
	c.subscribe(room)
	c.publish(room, `{}`)
	if status, body := h.web("/readyz"); status != http.StatusOK || h.state("sqlite") != "answers" {
		t.Fatalf("at first: %s, %s", body, h.state("sqlite"))
	}
	disk.Fill(64 << 10)
	big := fmt.Sprintf(`{"x":%q}`, strings.Repeat("x", 10_000))
	eventually(t, "a publish is refused", func() bool { return c.tryPublish(room, big).Error != nil })
	for range 50 {
		c.tryPublish(room, big)
	}
	if status, body := h.web("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "sqlite refuses writes") || !strings.Contains(body, "full") {
		t.Errorf("readyz: %d %s", status, body)
	}
	if s := h.state("sqlite"); s != "refuses" {
		t.Errorf("metrics: %q", s)
	}
	if n := h.lines("sqlite"); n != 1 {
		t.Errorf("%d lines: %v", n, h.logs.All())
	}
	if n := h.logs.FilterLevelExact(zap.ErrorLevel).Len(); n != 1 {
		t.Errorf("%d errors: %v", n, h.logs.All())
	}
	disk.Free()
	eventually(t, "the node is ready", func() bool { status, _ := h.web("/readyz"); return status == http.StatusOK })
	c.publish(room, big)
	if _, metrics := h.web("/metrics"); !strings.Contains(metrics, "\nhubbub_store_bytes ") || !strings.Contains(metrics, "\nhubbub_store_wal_bytes ") {
		t.Error("the sizes of the store's files are not in the metrics")
	}
}
