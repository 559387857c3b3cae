package main

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/check"
	"github.com/hubbub-chat/hubbub/loadgen/report"
)

// workCmd is `work`: this process plays what a coordinator asks it to.
type workCmd struct {
	tied
	engineFlag
	Listen     string `help:"Address of the control channel (default ${default})." default:"127.0.0.1:0"`
	SecretFile string `help:"File with the secret that coordinators show, 16 bytes at least; or $$LOADGEN_WORKER_SECRET." placeholder:"FILE"`
}

// workerSecret is where the secret of a control channel may stand.
const workerSecret = "LOADGEN_WORKER_SECRET"

// readSecret is the secret of a control channel.
func readSecret(file string) (string, error) {
	secret := os.Getenv(workerSecret)
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return "", usageError("--secret-file: " + err.Error())
		}
		secret = strings.TrimSpace(string(b))
	}
	if len(secret) < 16 {
		return "", usageError("the control channel wants a secret of 16 bytes at least, in --secret-file or $" + workerSecret)
	}
	return secret, nil
}

// Run is kong's entry.
func (w *workCmd) Run(env environment) error {
	secret, err := readSecret(w.SecretFile)
	if err != nil {
		return err
	}
	if err := w.engineFlag.check(); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", w.Listen)
	if err != nil {
		return usageError("--listen: " + err.Error())
	}
	env.ctx = w.tie(env.ctx)
	h := &hand{secret: secret, stderr: env.stderr, engine: w.engineFlag}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /play", h.trusted(h.play))
	mux.HandleFunc("POST /begin", h.trusted(told(h, func(s *shift) chan start { return s.begin })))
	mux.HandleFunc("POST /settle", h.trusted(told(h, func(s *shift) chan map[int]reached { return s.agreed })))
	mux.HandleFunc("POST /time", h.trusted(h.tellTime))
	mux.HandleFunc("POST /stop", h.trusted(h.halt))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return env.ctx }}
	stop := context.AfterFunc(env.ctx, func() { _ = server.Close() })
	defer stop()
	fmt.Fprintln(env.stdout, ln.Addr()) // a coordinator reads it
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// hand serves coordinators, one job at a time.
type hand struct {
	secret string
	engine engineFlag
	stderr io.Writer

	mu    sync.Mutex
	shift *shift // nil: there is none
}

const maxJob = 64 << 20 // bytes

func (h *hand) trusted(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		shown := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if subtle.ConstantTimeCompare([]byte(shown), []byte(h.secret)) != 1 {
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		next(w, r)
	}
}

// told hands what a coordinator says of the job under way to it. What it says
// twice, or of none, is refused.
func told[T any](h *hand, to func(*shift) chan T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var v T
		if err := json.NewDecoder(io.LimitReader(r.Body, maxJob)).Decode(&v); err != nil {
			http.Error(w, "not what was expected", http.StatusBadRequest)
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.shift != nil {
			select {
			case to(h.shift) <- v:
				return
			default: // it has been told
			}
		}
		http.Error(w, "nobody waits for it", http.StatusConflict)
	}
}

func (h *hand) halt(http.ResponseWriter, *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.shift != nil {
		h.shift.stop()
	}
}

// tellTime lets a coordinator compare clocks.
func (h *hand) tellTime(w http.ResponseWriter, _ *http.Request) {
	_ = json.NewEncoder(w).Encode(newClock(0).now()) // who does not hear it is gone
}

// play does one job and says what became of it. It ends with the request.
func (h *hand) play(w http.ResponseWriter, r *http.Request) {
	var j job
	if err := json.NewDecoder(io.LimitReader(r.Body, maxJob)).Decode(&j); err != nil || j.Scenario == nil || len(j.Run) != check.RunIDLen {
		http.Error(w, "not a job", http.StatusBadRequest)
		return
	}
	// Once a body is read to its end, the server notices a client that goes.
	_, _ = io.Copy(io.Discard, r.Body)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	s := &shift{job: &j, engine: h.engine, request: r.Context(), stop: cancel, begin: make(chan start, 1), agreed: make(chan map[int]reached, 1)}
	s.say = func(v word) {
		_ = json.NewEncoder(w).Encode(v) // who does not hear it is gone
		_ = http.NewResponseController(w).Flush()
	}
	h.mu.Lock()
	busy := h.shift != nil
	if !busy {
		h.shift = s
	}
	h.mu.Unlock()
	if busy {
		http.Error(w, "busy with another job", http.StatusConflict)
		return
	}
	defer func() {
		h.mu.Lock()
		h.shift = nil
		h.mu.Unlock()
	}()
	s.say(word{})
	got, err := s.play(ctx)
	if err != nil {
		s.say(word{Error: err.Error()})
		return
	}
	s.say(word{Result: got})
}

// play is the job.
func (s *shift) play(ctx context.Context) (*report.Result, error) {
	var got *report.Outcome
	j := s.job
	env := environment{ctx: ctx, stdout: io.Discard, stderr: io.Discard, shift: s, keep: func(o *report.Outcome) { got = o }}
	t := target{URLs: j.URLs, Protocol: j.Protocol, Loops: j.Loops, engineFlag: s.engine, Seed: j.Seed, RoomPrefix: j.Prefix,
		ConnectRate: j.Scenario.ConnectRate, JoinTimeout: j.Patience}
	if err := play(env, &t, &witnesses{}, j.Scenario, nil); err != nil && !errors.Is(err, errFaults) {
		return nil, err
	}
	return got.Pack()
}
