package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/schema"
)

// A node that is stopped under load answers what it has taken, closes its
// clients with 3001, and keeps what it acknowledged; the ledger looks. Publishes
// that it did not take end with the close.
func TestStopUnderLoad(t *testing.T) {
	for _, drain := range []time.Duration{0, 2 * time.Second} { // in which the node can be asked
		t.Run(drain.String(), func(t *testing.T) {
			h := start(t, func(o *options) { o.Drain, o.Loops = drain, 3 })
			n := h.node
			room := roomOf(t)
			var all sync.WaitGroup
			unanswered := make([]int, 8)
			for i := range unanswered {
				c := h.client(codecs[i%2])
				c.subscribe(room)
				all.Go(func() { unanswered[i] = publishUntilClosed(t, c, room, i) })
			}
			for i := range 60 {
				c := h.client(codecs[i%2])
				all.Go(func() {
					if _, err := c.tryPush(); !errors.Is(err, closed{3001, schema.CloseShutdown.Reason}) {
						t.Errorf("an idle client ended with %v", err)
					}
				})
			}
			time.Sleep(100 * time.Millisecond)
			watch, err := keepAlive(h.addr())
			if err != nil {
				t.Fatal(err)
			}
			defer watch.close()
			if status := watch.get(t, "/readyz"); status != http.StatusOK {
				t.Errorf("/readyz answers %d before", status)
			}
			stopped := make(chan struct{})
			go func() { // ends with Stop
				defer close(stopped)
				h.stop()
			}()
			if drain > 0 {
				eventually(t, "the node drains", func() bool { return !n.ready.Load() })
				if status := watch.get(t, "/readyz"); status != http.StatusServiceUnavailable {
					t.Errorf("/readyz answers %d while draining", status)
				}
				if status := watch.get(t, "/healthz"); status != http.StatusOK {
					t.Errorf("/healthz answers %d while draining", status)
				}
			}
			all.Wait()
			<-stopped
			t.Logf("publishes that ended with the close: %v", unanswered)
			if err := n.Stop(); err != nil {
				t.Errorf("a second Stop: %v", err)
			}
		})
	}
}

// Whoever's turn has not come is served as before while a node drains.
func TestDrainServes(t *testing.T) {
	h := start(t, func(o *options) { o.Drain, o.Loops = 3*time.Second, 1 })
	n := h.node
	room := roomOf(t)
	var all sync.WaitGroup
	for i := range 60 {
		c := h.client(codecs[i%2])
		all.Go(func() {
			if _, err := c.tryPush(); !errors.Is(err, closed{3001, schema.CloseShutdown.Reason}) {
				t.Errorf("an idle client ended with %v", err)
			}
		})
	}
	last := h.client(codecs[0]) // slices go by the order in which they came
	last.subscribe(room)
	stopped := make(chan struct{})
	go func() { // ends with Stop
		defer close(stopped)
		h.stop()
	}()
	eventually(t, "the node drains", func() bool { return !n.ready.Load() && n.sessions.Connected() < 61 })
	for range 3 {
		if r := last.call(publishTo(room, `{"late":true}`)); r.Error != nil {
			t.Errorf("a publish while the node drains: %v", r.Error)
		}
	}
	all.Wait()
	<-stopped
}

// publishUntilClosed publishes with some commands always under way, and
// returns how many had no answer when the connection was closed.
func publishUntilClosed(t *testing.T, c *client, room string, who int) (unanswered int) {
	const window = 40
	waiting := make(map[uint32]bool)
	for i := 0; ; i++ {
		cmd := publishTo(room, fmt.Sprintf(`{"from":%d,"n":%d}`, who, i))
		if err := c.trySend(cmd); err != nil {
			waiting[0] = true // the server has closed: what it said is still to be read
		}
		waiting[cmd.Id] = true
		for len(waiting) >= window {
			_, r, err := c.next()
			if err != nil {
				if !errors.Is(err, closed{3001, schema.CloseShutdown.Reason}) {
					t.Errorf("publisher %d ended with %v", who, err)
				}
				return len(waiting)
			}
			if r.Error != nil {
				t.Errorf("publisher %d: %v", who, r.Error)
			}
			delete(waiting, r.Id)
		}
	}
}

// watcher is an HTTP client with one connection that it keeps.
type watcher struct {
	client *http.Client
	base   string
}

func keepAlive(addr string) (*watcher, error) {
	w := &watcher{client: &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}, Timeout: time.Minute}, base: "http://" + addr}
	_, _, err := w.fetch("/healthz")
	return w, err
}

// each makes a connection for every request.
func each(addr string) *watcher {
	return &watcher{client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}, base: "http://" + addr}
}

func (w *watcher) close() { w.client.CloseIdleConnections() }

func (w *watcher) fetch(path string) (int, string, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, w.base+path, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

func (w *watcher) get(t testing.TB, path string) int {
	t.Helper()
	status, _, err := w.fetch(path)
	if err != nil {
		t.Errorf("GET %s: %v", path, err)
	}
	return status
}

// A node can be stopped as soon as it has been started, and started again.
func TestStopAtOnce(t *testing.T) {
	h := start(t)
	for range 3 {
		h.stop()
		h.run()
	}
}
