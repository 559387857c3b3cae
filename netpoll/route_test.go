package netpoll

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gobwas/ws"
)

// routes are request lines (without the version) and what they are answered when the
// rest is a handshake.
var routes = []struct {
	line   string
	status int // 0: the HTTP server's page
}{
	{"GET /ws", 101},
	{"GET /ws?a=b", 101},
	{"GET /%77s", 101},
	{"GET /%77%73?%zz", 101},
	{"GET //ws", 101},
	{"GET /x/../ws", 101},
	{"GET /x/%2e%2e/./ws", 101},
	{"GET http://example.org/ws", 101},
	{"GET HTTPS://example.org:443/ws?a", 101},
	{"GET ws://example.org/%77s", 101},
	{"GET WsS://example.org/ws", 101},
	{"get /ws", 405},
	{"G3T /ws", 405},
	{"POST /ws", 405},
	{"OPTIONS /ws", 405},
	{strings.Repeat("A", 5000) + " /ws", 405},
	{strings.Repeat("A", 5000) + " http://example.org/%77s", 405},
	{"G@T /ws", 400},
	{"GET /ws ", 400}, // the version is " HTTP/1.1"
	{"GET  /ws", 400},
	{"GET ws", 400},
	{"GET /%zz", 400},
	{"GET http://[/ws", 400},
	{"GET *", 0},
	{"GET", 400},
	{"GET /ws/", 0},
	{"GET //ws/", 0},
	{"GET /ws#x", 0},
	{"GET /%2fws", 0},
	{"GET /x%2F..%2Fws", 0},
	{"GET /ws%00", 0},
	{"GET /ws%20", 0},
	{"GET /Ws", 0},
	{"GET /wsx", 0},
	{"GET /", 0},
	{"GET http://example.org", 0},
	{"GET mailto:ws", 0},
	{"get /page", 0},
	{strings.Repeat("A", 5000) + " /page", 0},
	{"OPTIONS *", 200}, // net/http's own
	{"CONNECT example.org:443", 0},
	{"CONNECT example.org/ws", 0},
	{"CONNECT /ws", 0},
}

// A request has one answer, whatever form its target and its method have, and meets the
// HTTP server once at most: it is not handed to and fro.
func TestRoutes(t *testing.T) {
	const fields = "Host: x\r\n" + bareFields + "\r\n"
	for _, first := range []bool{true, false} {
		name := map[bool]string{true: "first", false: "on a used connection"}[first]
		t.Run(name, func(t *testing.T) {
			var met atomic.Int64
			_, addr := startWatched(t, Config{}, func() Handler { return &echo{make(chan uint16, len(routes))} }, func(_ net.Conn, s http.ConnState) {
				if s == http.StateNew {
					met.Add(1)
				}
			})
			for _, c := range routes {
				p := connect(t, addr)
				if !first {
					p.send([]byte("GET /page HTTP/1.1\r\nHost: x\r\n\r\n"))
					if _, body := p.response(); body != "page /page" {
						t.Fatalf("the page is %q", body)
					}
				}
				before := met.Load()
				p.send([]byte(c.line + " HTTP/1.1\r\n" + fields))
				resp, body := p.response()
				page := strings.HasPrefix(body, "page ")
				if page != (c.status == 0) || !page && resp.StatusCode != c.status {
					t.Errorf("%.60s: %s %q, want %d", c.line, resp.Status, body, c.status)
				}
				if resp.StatusCode == http.StatusSwitchingProtocols {
					p.send(text("x"))
					p.expect(ws.OpText, "x")
				}
				if n := met.Load() - before; n > 1 || n == 1 && (!first || c.status == 101 || c.status == 405) {
					t.Errorf("%.60s: the HTTP server got it %d times", c.line, n)
				}
				_ = p.Close()
			}
		})
	}
}

// response reads a response with its body.
func (p *peer) response() (*http.Response, string) {
	p.t.Helper()
	resp, err := http.ReadResponse(p.r, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, ""
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp, string(body)
}

// Versions of HTTP that WebSockets are not for.
func TestRouteVersions(t *testing.T) {
	_, addr, _ := startEcho(t, Config{})
	for _, c := range []struct {
		head   string
		status int
	}{
		{"GET /ws HTTP/1.0\r\nHost: x\r\n" + bareFields + "\r\n", 400},
		{"GET /ws HTTP/2.0\r\nHost: x\r\n" + bareFields + "\r\n", 505},
		{"GET /ws FTP/1.1\r\nHost: x\r\n" + bareFields + "\r\n", 400},
		{"GET /ws\r\n\r\n", 400},
		{"GET /page\r\n\r\n", 400},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 200}, // the test's page takes it; a ServeMux answers 400
	} {
		p := connect(t, addr)
		p.send([]byte(c.head))
		if resp, _ := p.response(); resp.StatusCode != c.status {
			t.Errorf("%q: %s, want %d", c.head, resp.Status, c.status)
		}
	}
}

// FuzzRoute: for any request that the HTTP server can read, it and a loop decide alike
// whose it is; one that a loop has handed over stays; and where a ServeMux has the
// endpoint as a pattern, it finds it for the same paths.
func FuzzRoute(f *testing.F) {
	for _, c := range routes {
		f.Add([]byte(c.line + " HTTP/1.1\r\nHost: x\r\n\r\n"))
	}
	for _, head := range []string{
		"\r\nGET /ws HTTP/1.1\r\nHost: x\r\n\r\n", "GET /ws HTTP/1.1\nHost: x\n\n", "GET /ws\rHTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"GET /ws HTTP/1.1 \r\n\r\n", "GET http://a@b:c/ws HTTP/1.1\r\n\r\n", "GET /\x80/../ws HTTP/1.0\r\n\r\n", "GET :ws HTTP/1.1\r\n\r\n",
	} {
		f.Add([]byte(head))
	}
	e := &Engine{cfg: Config{WebSocket: func(path string) bool { return path == "/ws" }}}
	e.cfg.setDefaults()
	mux := http.NewServeMux()
	mux.Handle("/ws", http.NotFoundHandler())
	mux.Handle("/", http.NotFoundHandler())
	f.Fuzz(func(t *testing.T, head []byte) {
		line, ok, complete := readRequestLine(head)
		ours := complete && ok && e.isWebSocket(line)
		var kept lineReader
		kept.read([]byte("GET /other HTTP/1.1\r\n"))
		for range 2 {
			if again, still, whole := kept.read(head); still != ok || whole != complete || !line.same(again) {
				t.Fatalf("%+v, and of a reader that has read it %+v", line, again)
			}
		}
		if complete {
			if again, still, _ := readRequestLine(append(bytes.Clone(head), "x /y\r\n\r\n"...)); still != ok || !line.same(again) && len(head) > 0 && bytes.IndexByte(head, '\n') >= 0 {
				t.Fatalf("%+v, and with more behind it %+v", line, again)
			}
		}
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
		if err != nil {
			return // the HTTP server closes the connection
		}
		if !complete || !ok {
			t.Fatalf("net/http reads %q, a loop does not", head)
		}
		for _, served := range []bool{false, true} {
			next := false
			h := httpRouter{e, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { next = true })}
			w := httptest.NewRecorder() // which cannot be hijacked: 500 is a request that would be handed back
			h.ServeHTTP(w, r.WithContext(withConn(r.Context(), &readConn{served: served})))
			if handedBack := w.Code == http.StatusInternalServerError; handedBack == next || handedBack != (served && ours) {
				t.Fatalf("%q is the loop's: %v; the HTTP server (request before: %v) keeps it: %v, hands it back: %v", head, ours, served, next, handedBack)
			}
		}
		if r.Method != http.MethodConnect && r.RequestURI != "*" && r.URL.RawPath == "" && r.URL.Path != "" {
			if _, pattern := mux.Handler(r); (pattern == "/ws") != ours {
				t.Fatalf("%q is a WebSocket's: %v, and a ServeMux finds %q", head, ours, pattern)
			}
		}
	})
}

func (line requestLine) same(other requestLine) bool {
	return line.method == other.method && line.proto == other.proto && line.path == other.path &&
		(line.url == nil) == (other.url == nil) && (line.url == nil || line.url.String() == other.url.String())
}
