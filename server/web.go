package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/hubbub-chat/hubbub/netpoll"
	"github.com/hubbub-chat/hubbub/server/api"
	"github.com/hubbub-chat/hubbub/server/web"
)

const (
	webSocketPath = "/connection/websocket"
	echoPath      = "/echo"

	noContact = "no contact to the other nodes"
)

func (n *Node) isWebSocket(path string) bool {
	return path == webSocketPath || n.cfg.Echo && path == echoPath
}

// upgrade gives a handshake to whom it is for.
func (n *Node) upgrade(r *netpoll.Request) (netpoll.Handler, *netpoll.Reject) {
	if n.cfg.Echo && r.Path == echoPath {
		return echo{}, nil
	}
	if !n.ready.Load() {
		return nil, &netpoll.Reject{Status: http.StatusServiceUnavailable, Reason: "stopping"}
	}
	if n.isolated.Load() {
		return nil, &netpoll.Reject{Status: http.StatusServiceUnavailable, Reason: noContact}
	}
	return n.sessions.Upgrade(r)
}

// echo sends every message back, through the same framing as all else.
type echo struct{}

func (echo) Message(c *netpoll.Conn, binary bool, payload []byte) { c.Reply(binary, payload) }
func (echo) Drained(*netpoll.Conn)                                {}
func (echo) Tick(*netpoll.Conn)                                   {}
func (echo) Closed(*netpoll.Conn, uint16)                         {}

// keepIdle is how long a connection waits for its next request. It is longer than proxies
// keep theirs (nginx.conf has 60 s): who closes first must be who sends, or a request
// meets a connection that is about to end.
const keepIdle = 75 * time.Second

// newWeb serves everything that is not a WebSocket.
func (n *Node) newWeb() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("/", web.Handler())
	mux.Handle(api.Prefix, n.api)
	mux.Handle(strings.TrimSuffix(api.Prefix, "/"), n.api)
	mux.Handle("GET /metrics", n.metrics.Handler())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if !n.ready.Load() {
			answer(w, http.StatusServiceUnavailable, "starting or draining")
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		if err := n.delivery.Ready(ctx); err != nil {
			answer(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		if n.isolated.Load() {
			answer(w, http.StatusServiceUnavailable, noContact) // as for every handshake
			return
		}
		if conns, most := n.engine.Conns(), n.engine.MaxConns(); conns >= most {
			answer(w, http.StatusServiceUnavailable, fmt.Sprintf("full: %d of %d connections", min(conns, most), most))
			return
		}
		answer(w, http.StatusOK, "ready")
	})
	s := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       keepIdle,
	}
	n.engine.ConfigureHTTP(s)
	return s
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // the client may be gone
}

// newDebug serves pprof.
func newDebug(addr string) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return &http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
}
