package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/internal/leaks"
	"github.com/hubbub-chat/hubbub/schema"
)

// The API on real nodes is tested in package server, with the clients that see
// what it does. Here is what a real node cannot be brought to do.

func TestMain(m *testing.M) { leaks.Main(m) }

const testKey = "0123456789abcdef"

// relay is one that answers as it is told, or not at all.
type relay struct {
	refuses error
	fails   error
	silent  bool
}

func (*relay) Event(string, func([]byte, schema.Codec) []byte) {}

func (r *relay) Publish(m *schema.Message, done func(error)) error {
	if r.refuses == nil && !r.silent {
		m.Offset = 7
		done(r.fails)
	}
	return r.refuses
}

func newAPI(t *testing.T, cfg Config) *API {
	t.Helper()
	cfg.Keys = []Key{testKey}
	cfg.Blocked = nobody{}
	if cfg.Hub == nil {
		cfg.Hub = fanout.NewHub(fanout.Config{}, standing{}, nil)
	}
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *API) post(method string, body io.Reader) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, Prefix+method, body)
	r.Header.Set("X-API-Key", testKey)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}

// What goes wrong behind the API becomes an error of the protocol, and what is
// nobody's fault but ours a line of the log.
func TestPublishFails(t *testing.T) {
	for _, c := range []struct {
		name  string
		relay relay
		want  string
		lines int
	}{
		{"stored", relay{}, `{"result":{"offset":7,"epoch":"e"}}`, 0},
		{"overloaded", relay{refuses: fanout.ErrOverloaded}, `{"error":{"code":111,"message":"the server has too much to do"}}`, 0},
		{"nothing becomes durable", relay{refuses: errors.New("nothing since noon")}, `{"error":{"code":111,"message":"the server cannot take messages right now"}}`, 0},
		{"bad room", relay{refuses: schema.ErrBadRequest}, `{"error":{"code":107,"message":"bad request"}}`, 0},
		{"disk", relay{fails: errors.New("disk full on /secret")}, `{"error":{"code":100,"message":"internal server error"}}`, 1},
		{"silence", relay{silent: true}, `{"error":{"code":100,"message":"no answer in time; it may still take effect"}}`, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				core, logs := observer.New(zap.DebugLevel)
				a := newAPI(t, Config{Relay: &c.relay, Hub: hubWith(t, "a", "e"), Log: zap.New(core)})
				began := time.Now()
				w := a.post("publish", strings.NewReader(`{"channel":"a","data":1}`))
				if got := strings.TrimSpace(w.Body.String()); w.Code != 200 || got != c.want {
					t.Errorf("%d %s, want %s", w.Code, got, c.want)
				}
				if took := time.Since(began); c.relay.silent && took != 4*time.Second {
					t.Errorf("answered after %v, want 4 s", took)
				}
				if logs.Len() != c.lines {
					t.Errorf("logged %v", logs.All())
				}
			})
		})
	}
}

// The time of a batch is that of one request, and what it does not reach is
// not run.
func TestBatchTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, Config{Relay: &relay{silent: true}})
		began := time.Now()
		body := `{"commands":[{"publish":{"channel":"a","data":1}},{"rpc":{"method":"x"}},{"publish":{"channel":"a","data":1}}]}`
		w := a.post("batch", strings.NewReader(body))
		var r struct {
			Replies []struct{ Error struct{ Message string } }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || len(r.Replies) != 3 || time.Since(began) != 4*time.Second {
			t.Fatalf("after %v: %s, %v", time.Since(began), w.Body, err)
		}
		for i, want := range []string{"may still take effect", "was not run", "was not run"} {
			if !strings.Contains(r.Replies[i].Error.Message, want) {
				t.Errorf("reply %d: %q, want %q", i, r.Replies[i].Error.Message, want)
			}
		}
	})
}

// An order to loops that do not answer ends in time.
func TestWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		late := make(chan struct{})
		if _, err := within(ctx, func() int { <-late; return 1 }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a silent loop: %v", err)
		}
		close(late)
		if _, err := within(ctx, func() int { t.Error("run after its time"); return 1 }); err == nil {
			t.Error("run after its time")
		}
		if n, err := within(t.Context(), func() int { return 1 }); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
}

// Above the bound requests are refused, and taken again when others end. Who
// has no key takes no place.
func TestConcurrent(t *testing.T) {
	a := newAPI(t, Config{Concurrent: 2, Relay: &relay{}})
	var writers []*io.PipeWriter
	ended := make(chan int, 2)
	for range 2 {
		r, w := io.Pipe()
		writers = append(writers, w)
		go func() { ended <- a.post("rpc", r).Code }() // ends when w is closed
		_, _ = w.Write([]byte("{"))                    // returns when the handler reads
	}
	if w := a.post("rpc", strings.NewReader("{}")); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("the third: %d %s", w.Code, w.Body)
	}
	for _, w := range writers {
		_, _ = w.Write([]byte("}"))
		_ = w.Close()
		if code := <-ended; code != http.StatusOK {
			t.Errorf("a slow one: %d", code)
		}
	}
	if w := a.post("rpc", strings.NewReader("{}")); w.Code != http.StatusOK {
		t.Errorf("afterwards: %d %s", w.Code, w.Body)
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "a/b:c", true}, {"a", "a", true}, {"a", "b", false}, {"a", "ab", false},
		{"?", "я", true}, {"?", "", false}, {"a*", "abc", true}, {"*c", "abc", true}, {"a*c", "abcbc", true}, {"a*c", "abcd", false},
		{"*b*", "abc", true}, {"**", "x", true}, {"a?c*", "abc", true}, {"chat:*", "chat:1", true}, {"chat:*", "chats:1", false},
		{"[a]", "a", false}, {strings.Repeat("a*", 100) + "b", strings.Repeat("a", 255), false},
	} {
		if got := match(c.pattern, c.name); got != c.want {
			t.Errorf("match(%.20q, %.20q) = %v", c.pattern, c.name, got)
		}
	}
}

// FuzzDecode gives every method arbitrary bodies. Nothing panics; a body is
// refused, or its request answers with a result or an error of the protocol
// within its time, and the answer is one line of JSON.
func FuzzDecode(f *testing.F) {
	for _, body := range []string{
		`{}`, `null`, `{"channel":"a","data":{"x":[1,null]},"idempotency_key":"k"}`, `{"channels":["a","b"],"data":1}`,
		`{"user":"u","client":"c","disconnect":{"code":3000,"reason":"r"},"whitelist":null}`, `{"channel":"a","since":{"offset":1}}`,
		`{"commands":[{"publish":{"channel":"a","data":1}},{"rpc":{"method":"x"}},{}]}`, `{"pattern":"a*"}`, "{\"a\":\"\xff\"}",
		`{"channel":"\ud800","data":"\ud800"}`, `{"channels":["a","\ud800"],"data":1,"skip_history":true}`, `{"commands":[{"publish":{"channel":"a","data":` + strings.Repeat("[", 11_000) + strings.Repeat("]", 11_000) + `}}]}`,
		`{"commands":null}`, `{"commands":[null,1,{"rpc":1},{"rpc":null},{"rpc":{},"info":{}}],"commands":[{"rpc":{"method":"x"}}]}`, `{"commands":{}}`,
	} {
		for i := range Methods() {
			f.Add(uint8(i), []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		method := Methods()[int(which)%len(Methods())]
		a := newAPI(t, Config{Relay: &relay{}, Concurrent: 1})
		if !local(method, body) {
			return
		}
		w := a.post(method, strings.NewReader(string(body)))
		var r map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || len(r) != 1 || strings.Count(w.Body.String(), "\n") != 1 {
			t.Fatalf("%s %q: %d %s, %v", method, body, w.Code, w.Body, err)
		}
		if failed := r["error"] != nil; w.Code != 200 && w.Code != 400 || w.Code == 400 && !failed {
			t.Fatalf("%s %q: %d %s", method, body, w.Code, w.Body)
		}
	})
}

// local reports whether a body can be answered without a hub and sessions:
// what needs them is only decoded and checked here.
func local(method string, body []byte) bool {
	needs := func(r request) bool {
		switch r := r.(type) {
		case *publish:
			return r.SkipHistory
		case *broadcast:
			return r.SkipHistory
		case *rpc, refused:
			return false
		case *disconnect:
			_ = r.check()
			_, _ = r.Disconnect.close()
		case *channelList:
			_ = match(r.Pattern, "some:name")
		}
		return true
	}
	if method == batchMethod {
		b, err := readBatch(body)
		if err != nil {
			return true
		}
		for i := range b.commands {
			if needs(b.commands[i].req) {
				return false
			}
		}
		return true
	}
	r, err := read(method, body)
	return err != nil || !needs(r)
}

// hubWith returns a hub that has a room of this epoch in memory.
func hubWith(t *testing.T, room, epoch string) *fanout.Hub {
	hub := fanout.NewHub(fanout.Config{}, standing{epoch}, nil)
	hub.Open(room, func(_ *fanout.Room, err error) {
		if err != nil {
			t.Fatal(err)
		}
	})
	return hub
}

// standing is a source of rooms that have an epoch.
type standing struct{ epoch string }

func (s standing) Open(r *fanout.Room, done func(error)) {
	r.Fill(fanout.Snapshot{Epoch: s.epoch})
	done(nil)
}

func (standing) Close(*fanout.Room) {}

// nobody keeps nothing.
type nobody struct{}

func (nobody) Block(context.Context, string, int64) error { return nil }
func (nobody) Unblock(context.Context, string) error      { return nil }
