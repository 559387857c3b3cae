package main

import (
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/sessions"
	"github.com/hubbub-chat/hubbub/sink"
)

// options are a test node's settings: those of the command line, and those of
// the sessions that no flag reaches.
type options struct {
	serveCmd
	sessions func(*sessions.Config)
	failing  bool    // the test makes the node log errors
	shared   *ledger // of several nodes on one store; somebody else checks it
}

// harness is a real node on a port and a directory of its own. Its clean-up
// is the checker: the node stops without an error, logged none, counts nothing
// that is gone, and the store agrees with what every client was told and saw.
// That no goroutine is left is for TestMain to see.
type harness struct {
	t      testing.TB
	opt    options
	node   *Node
	logs   *observer.ObservedLogs
	ledger *ledger

	mu      sync.Mutex
	clients []*client
}

// start runs a node until the test ends.
func start(t testing.TB, settings ...func(*options)) *harness {
	t.Helper()
	h := &harness{t: t, ledger: newLedger(), opt: options{serveCmd: serveCmd{
		Addr: "127.0.0.1:0", Data: t.TempDir(), Sync: sink.SyncNormal, Guests: true, Loops: 2, Engine: os.Getenv("HUBBUB_ENGINE"),
		MaxHead: 16 << 10, MaxSize: 64 << 10, LogLevel: zapcore.InfoLevel,
	}}}
	for _, set := range settings {
		set(&h.opt)
	}
	if h.opt.shared != nil {
		h.ledger = h.opt.shared
	}
	h.run()
	t.Cleanup(func() {
		h.stop()
		if h.opt.shared == nil {
			h.ledger.checkDir(t, h.opt.Data)
		}
	})
	return h
}

// onNbio is for what is different there, and is meant to be.
func (h *harness) onNbio() bool { return h.node.engine.Engine() == "nbio" }

func (h *harness) needsHalfClose() {
	h.t.Helper()
	if h.onNbio() {
		h.t.Skip("nbio closes a socket when its peer has ended the other direction")
	}
}

// run starts a node on the harness's directory.
func (h *harness) run() {
	h.t.Helper()
	if err := h.opt.Validate(); err != nil {
		h.t.Fatal(err)
	}
	core, logs := observer.New(h.opt.LogLevel)
	n, err := NewNode(h.opt.serveCmd, zap.New(core))
	if err != nil {
		h.t.Fatal(err)
	}
	if h.opt.sessions != nil {
		cfg := sessions.Config{
			Hub: n.hub, Relay: n.delivery, Store: n.delivery, Reads: n.reads,
			Version: version, Guests: h.opt.Guests, Observe: n.metrics,
		}
		h.opt.sessions(&cfg)
		n.sessions = sessions.New(cfg, n.engine.Loops())
	}
	n.Start()
	h.node, h.logs = n, logs
}

// stop stops the node, if it runs, and looks at what it left.
func (h *harness) stop() {
	h.t.Helper()
	n := h.node
	if n == nil {
		return
	}
	h.node = nil
	if err := n.Stop(); err != nil {
		h.t.Errorf("Stop: %v", err)
	}
	if !h.opt.failing {
		for _, e := range h.logs.FilterLevelExact(zap.ErrorLevel).All() {
			h.t.Errorf("the node logged %q: %v", e.Message, e.ContextMap())
		}
	}
	select {
	case err := <-n.Failed():
		h.t.Errorf("the node failed: %v", err)
	default:
	}
	if c := n.engine.Conns(); c != 0 {
		h.t.Errorf("%d connections are counted after the end", c)
	}
	if c := n.sessions.Connected(); c != 0 {
		h.t.Errorf("%d sessions are counted after the end", c)
	}
	if s := n.hub.Stats(); s.Members != 0 || s.Backlog != 0 {
		h.t.Errorf("the hub counts %d members and %d bytes before its loops after the end", s.Members, s.Backlog)
	}
	if s := n.delivery.Queue(); s.Records != 0 || s.Bytes != 0 {
		h.t.Errorf("the writer holds %+v after the end", s)
	}
}

// restart cuts all clients and runs the node again, on another port.
func (h *harness) restart() {
	h.t.Helper()
	h.mu.Lock()
	for _, c := range h.clients {
		c.cut()
	}
	h.clients = nil
	h.mu.Unlock()
	h.stop()
	h.run()
}

// epoch is that of the node's store.
func (h *harness) epoch() string { return h.node.delivery.(*alone).Epoch() }

func (h *harness) addr() string { return h.node.engine.Addr().String() }

// dial opens a WebSocket connection that has yet to connect.
func (h *harness) dial(codec schema.Codec, query ...string) *client {
	h.t.Helper()
	c := dialTo(h.t, h.ledger, h.addr(), codec, query...)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clients = append(h.clients, c)
	return c
}

// client opens a connection and connects as a guest.
func (h *harness) client(codec schema.Codec) *client {
	h.t.Helper()
	c := h.dial(codec)
	c.connect()
	return c
}

// eventually waits for something that no message announces.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// bothCodecs runs a test in JSON and in Protobuf.
func bothCodecs(t *testing.T, f func(t *testing.T, codec schema.Codec)) {
	for _, codec := range []schema.Codec{schema.JSON, schema.Protobuf} {
		t.Run(codec.String(), func(t *testing.T) { f(t, codec) })
	}
}

// roomOf names a room after its test.
func roomOf(t testing.TB) string { return strings.NewReplacer("/", ":", "#", "-").Replace(t.Name()) }
