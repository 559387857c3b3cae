package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/internal/process"
	"github.com/hubbub-chat/hubbub/netpoll"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/api"
	"github.com/hubbub-chat/hubbub/server/auth"
	"github.com/hubbub-chat/hubbub/server/channels"
	"github.com/hubbub-chat/hubbub/server/limits"
	"github.com/hubbub-chat/hubbub/server/metrics"
	"github.com/hubbub-chat/hubbub/server/sessions"
	"github.com/hubbub-chat/hubbub/sink"
)

// Node is the program: everything between the flags and the signal. Tests
// start the same thing.
type Node struct {
	// immutable
	cfg      serveCmd
	log      *zap.Logger
	delivery delivery
	reads    *sink.Reader
	keys     *auth.Keys
	engine   *netpoll.Engine
	hub      *fanout.Hub
	policy   *channels.Namespaces
	sessions *sessions.Sessions
	api      *api.API
	metrics  *metrics.Metrics
	web      *http.Server
	debug    *http.Server // nil without --debug-addr
	maxConns int          // 0: the engine's default
	fewFiles string       // what to warn of, or empty

	ready    atomic.Bool
	isolated atomic.Bool // without Redis for too long
	failed   chan error
	cancel   context.CancelFunc // ends the hub's janitor
	wg       sync.WaitGroup
	stop     sync.Once
	ended    error // of Stop, by stop
}

// NewNode opens the store, binds the address and wires the parts. On an error
// nothing stays open.
func NewNode(cfg serveCmd, log *zap.Logger) (_ *Node, err error) {
	cfg = cfg.lifted()
	n := &Node{cfg: cfg, log: log, failed: make(chan error, 2)}
	defer func() {
		if err != nil {
			n.release()
		}
	}()
	if n.maxConns, n.fewFiles, err = fitFiles(cfg.MaxConns, openFiles()); err != nil {
		return nil, err
	}
	n.metrics = metrics.New(metrics.Sources{ // read when the node runs
		Net:      func() netpoll.Stats { return n.engine.Stats() },
		Conns:    func() int { return n.engine.Conns() },
		MaxConns: func() int { return n.engine.MaxConns() },
		Sessions: func() int { return n.sessions.Connected() },
		Hub:      func() fanout.Stats { return n.hub.Stats() },
		Queue:    func() metrics.Queue { return n.delivery.Queue() },
	}, version)
	n.reads = sink.NewReader(sink.ReaderConfig{})
	if n.delivery, err = n.newDelivery(); err != nil {
		return nil, err
	}
	if n.keys, err = auth.NewKeys(auth.KeysConfig{Specs: cfg.TokenKeys, JWKS: string(cfg.JWKS), WeakSecrets: cfg.Insecure, Log: log}); err != nil {
		return nil, err
	}
	ec, err := n.engineConfig()
	if err != nil {
		return nil, err
	}
	if n.engine, err = netpoll.New(ec); err != nil {
		return nil, fmt.Errorf("--addr %s: %w", cfg.Addr, err)
	}
	loops := make([]fanout.Loop, len(n.engine.Loops()))
	for i, l := range n.engine.Loops() {
		loops[i] = l
	}
	n.hub = fanout.NewHub(fanout.Config{Ahead: func(room string, by time.Duration) {
		log.Warn("the newest message of a room is ahead of the clock: this clock is wrong, or one was", zap.String("room", room), zap.Duration("by", by))
	}}, n.delivery.Source(), loops)
	n.delivery.Attach(n.hub)
	sc, err := n.sessionsConfig()
	if err != nil {
		return nil, err
	}
	n.sessions = sessions.New(sc, n.engine.Loops())
	ac, err := n.apiConfig()
	if err != nil {
		return nil, err
	}
	if n.api, err = api.New(ac); err != nil {
		return nil, fmt.Errorf("--api-key: %w", err)
	}
	n.web = n.newWeb()
	if cfg.DebugAddr != "" {
		n.debug = newDebug(cfg.DebugAddr)
	}
	return n, nil
}

func (n *Node) sessionsConfig() (c sessions.Config, err error) {
	cfg := &n.cfg
	c = sessions.Config{
		Hub: n.hub, Relay: n.delivery, Store: n.delivery, Reads: n.reads,
		Version: version, Guests: cfg.Guests, Observe: n.metrics,
		Addresses:  limits.NewAddresses(cfg.ConnsPerIP),
		Users:      limits.NewUsers(cfg.ConnsPerUser),
		Channels:   cfg.Subscriptions,
		Batch:      cfg.Batch,
		Rate:       limits.PerSecond(cfg.Rate, 5*time.Second),
		Handshakes: limits.PerSecond(cfg.HandshakeRate/len(n.engine.Loops()), time.Second),
	}
	if cl, ok := n.delivery.(*cluster); ok {
		c.Presence = cl.relay
	}
	if !n.keys.Empty() {
		c.Guests = cfg.Guests && cfg.Insecure
	}
	c.Tokens = auth.NewVerifier(auth.VerifierConfig{Keys: n.keys, Issuer: cfg.TokenIssuer, Audience: cfg.TokenAudience, Log: n.log})
	if n.policy, err = cfg.policy(); err != nil {
		return c, err
	}
	if c.Blocked, err = n.blocked(); err != nil {
		return c, err
	}
	c.Policy = n.policy
	if c.Origins, err = limits.ParseOrigins(cfg.AllowedOrigins); err != nil {
		return c, err
	}
	c.Proxies, err = limits.ParseProxies(cfg.TrustedProxies)
	return c, err
}

func (n *Node) apiConfig() (c api.Config, err error) {
	keys, err := n.cfg.apiKeys()
	if err != nil {
		return c, err
	}
	c = api.Config{
		Keys: keys, Sessions: n.sessions, Hub: n.hub, Relay: n.delivery, Store: n.delivery, Blocked: n.delivery, Reads: n.reads,
		Policy: n.policy, Log: n.log, Version: version, MaxData: n.cfg.MaxSize,
		Name: n.name(),
	}
	if cl, ok := n.delivery.(*cluster); ok {
		c.Cluster, c.UID = peers{n, cl.relay}, cl.relay.Boot()
	}
	return c, nil
}

// blocked reads who may not connect.
func (n *Node) blocked() (map[string]int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return n.delivery.Blocked(ctx)
}

// blockedEvery is how long a node of a cluster may not know that a user is
// blocked whose order it has not got.
const blockedEvery = time.Minute

// refreshBlocked reads the list again until ctx ends.
func (n *Node) refreshBlocked(ctx context.Context) {
	tick := time.NewTicker(blockedEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := n.sessions.RefreshBlocked(n.blocked); err != nil {
				n.log.Warn("cannot read who is blocked; the list stays as it is", zap.Error(err))
			}
		}
	}
}

// name is what the node is called.
func (n *Node) name() string {
	if n.cfg.Node != "" {
		return n.cfg.Node
	}
	host, err := os.Hostname()
	if err != nil {
		host = "hubbub"
	}
	return fmt.Sprintf("%s %v", host, n.engine.Addr())
}

func (n *Node) engineConfig() (c netpoll.Config, err error) {
	loops := n.cfg.Loops
	if loops == 0 {
		loops = min(process.CPUs(), maxLoops)
	}
	// A loop that returns from its wait needs a P at once, and so do the
	// writer, a reader and the collector beside it. (This ends the runtime's own
	// look at the CPU quota; the loops are as many as it allowed at the start.)
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), loops+2))
	c = netpoll.Config{
		Loops:        loops,
		Engine:       n.cfg.Engine,
		Addr:         n.cfg.Addr,
		WebSocket:    n.isWebSocket,
		Upgrade:      n.upgrade,
		Subprotocols: sessions.Subprotocols,
		MaxConns:     n.maxConns,
		MaxHeads:     cmp.Or(n.cfg.MaxHandshakes, n.maxConns/4),
		MaxHead:      n.cfg.MaxHead,
		MaxMessage:   n.cfg.MaxSize,
		Compression:  n.cfg.Compression,
		Overflow:     netpoll.Close(schema.CloseSlow),
		Flood:        netpoll.Close(schema.CloseTooManyRequests),
		TurnedAway: func(limit string) {
			if limit == "" {
				n.log.Info("there is room for connections again", zap.Int("connections", n.engine.Conns()))
				return
			}
			n.log.Warn("the server is full: new connections are turned away", zap.String("limit", limit),
				zap.Int("connections", n.engine.Conns()), zap.Int("max_connections", n.engine.MaxConns()))
		},
		Panicked: func(v any, stack []byte) {
			n.log.Error("a connection's handler panicked", zap.Any("panic", v), zap.ByteString("stack", stack))
		},
	}
	if n.cfg.Echo {
		c.MaxQueue = max(2<<20, 2*n.cfg.MaxSize) // replies there are as large as messages
	}
	if n.cfg.ProxyProtocol {
		var proxies *limits.Proxies
		proxies, err = limits.ParseProxies(n.cfg.TrustedProxies)
		c.Proxied = proxies.Trusted
	}
	return c, err
}

// Start runs the node. It is ready when Start returns.
func (n *Node) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	n.wg.Go(func() { n.hub.Run(ctx) })                          // stopped by cancel
	n.wg.Go(func() { n.serve("http", n.web, n.engine.HTTP()) }) // stopped by web.Shutdown
	if n.debug != nil {
		n.wg.Go(func() { n.serveDebug() }) // stopped by debug.Close
	}
	n.engine.Start()
	if cl, ok := n.delivery.(*cluster); ok {
		cl.relay.Serve(peers{n, cl.relay})        // until Drain
		n.wg.Go(func() { n.refreshBlocked(ctx) }) // stopped by cancel
	}
	n.ready.Store(true)
	// The first line of a node alone: nothing is logged before it has what it needs.
	n.log.Info("serving", append(n.cfg.summary(), zap.Stringer("addr", n.engine.Addr()),
		zap.Int("loops", len(n.engine.Loops())), zap.String("engine", n.engine.Engine()), zap.Int("max_connections", n.maxConns), zap.Stringer("sync", n.cfg.Sync))...)
	if n.fewFiles != "" {
		n.log.Warn(n.fewFiles)
	}
	if n.cfg.Insecure {
		n.log.Warn("--insecure: everybody may do everything, and nothing is limited")
	}
}

func (n *Node) serve(name string, s *http.Server, ln net.Listener) {
	if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		n.failed <- fmt.Errorf("%s server: %w", name, err)
	}
}

func (n *Node) serveDebug() {
	ln, err := net.Listen("tcp", n.debug.Addr)
	if err != nil {
		n.failed <- fmt.Errorf("--debug-addr: %w", err)
		return
	}
	n.serve("debug", n.debug, ln)
}

// Reload reads the configuration file again. Its rules hold from the next
// command on, and members that they do not let in any more are unsubscribed.
// A file that cannot be meant changes nothing.
func (n *Node) Reload() {
	policy, err := n.cfg.policy()
	if err != nil {
		n.log.Error("the rules stay as they are", zap.Error(err))
		return
	}
	n.policy.Replace(policy)
	n.sessions.Recheck()
	n.log.Info("the rules have been read again", zap.String("config", n.cfg.Config))
}

// Failed yields the error that a running node cannot go on with.
func (n *Node) Failed() <-chan error { return n.failed }

// URL is where a person on this machine finds the chat page.
func (n *Node) URL() string {
	addr, ok := n.engine.Addr().(*net.TCPAddr)
	if !ok {
		return n.engine.Addr().String()
	}
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, fmt.Sprint(addr.Port)) + "/"
}

// Stop ends the node gracefully: it stops being ready, answers what was asked,
// closes its clients with 3001 over the drain time, stops accepting, stores
// what is queued, and returns when every goroutine has ended.
func (n *Node) Stop() error {
	n.stop.Do(func() { n.ended = n.shutdown() })
	return n.ended
}

func (n *Node) shutdown() error {
	n.log.Info("stopping", zap.Int("sessions", n.sessions.Connected()))
	n.ready.Store(false) // from now on handshakes are refused, and /readyz says so
	n.sessions.Drain(n.cfg.Drain)
	deadline := time.Now().Add(n.cfg.Drain + 6*time.Second) // every answer takes at most 4 s, a close 5
	for n.engine.Conns() > 0 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	n.engine.StopAccepting()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := n.delivery.Drain(ctx)
	err = errors.Join(err, n.web.Shutdown(ctx))
	if n.debug != nil {
		err = errors.Join(err, n.debug.Close())
	}
	n.cancel()
	n.engine.Stop()
	n.wg.Wait()
	n.reads.Close()
	n.keys.Close()
	err = errors.Join(err, n.delivery.Close())
	n.log.Info("stopped", zap.Error(err))
	return err
}

// release closes what a failed NewNode had opened.
func (n *Node) release() {
	if n.engine != nil {
		n.engine.Stop()
	}
	if n.reads != nil {
		n.reads.Close()
	}
	if n.keys != nil {
		n.keys.Close()
	}
	if n.delivery != nil {
		_ = n.delivery.Close() // the error that led here is the one to report
	}
}
