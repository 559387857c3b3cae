package netpoll

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/hubbub-chat/hubbub/internal/httplist"
)

// Whose a request is, a loop's or the HTTP server's, is decided by isWebSocket, from
// the method and the target as they stand in the request line, and for each request
// once:
//
//   - The first request of a connection is routed by its loop. One that goes to the HTTP
//     server stays there: httpRouter does not ask for it again.
//   - Later ones, which proxies send over connections that they keep, are read by the
//     HTTP server and routed by httpRouter. One that goes to a loop is answered there
//     as a handshake, whatever it is, and not routed again.
//
// (Rejected: the loop compares bytes and a ServeMux has the same path as a pattern.
// They read encoded paths and whole URLs differently, and hand such a request to each
// other without end.)

// isWebSocket reports whether a request is for a WebSocket endpoint.
func (e *Engine) isWebSocket(line requestLine) bool {
	return line.url != nil && e.cfg.WebSocket(line.path)
}

var errTunnel = errors.New("a tunnel has no path")

// parseTarget reads a request's target: a path with a query, or a whole URL of any
// scheme (RFC 9112, section 3.2). Of CONNECT it is an address, which nothing here has.
func parseTarget(method, target string) (*url.URL, error) {
	if method == http.MethodConnect {
		return nil, errTunnel
	}
	return url.ParseRequestURI(target)
}

// routePath is the normal form of a URL's path, which endpoints are compared with:
// decoded, without dot segments and empty ones, as nginx compares locations. It is empty
// when a segment has an encoded slash, which is a character there and separates
// nothing (RFC 3986, section 2.2): no endpoint's has one.
func routePath(u *url.URL) string {
	if u.Path == "" || strings.Contains(strings.ToLower(u.RawPath), "%2f") {
		return ""
	}
	clean := path.Clean("/" + u.Path)
	if strings.HasSuffix(u.Path, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

// requestLine is the first line of a request, and what its target is to the router.
type requestLine struct {
	method, proto string
	url           *url.URL // nil when the target cannot be read
	path          string   // of url, in its normal form
}

func newRequestLine(method, target, proto string) requestLine {
	line := requestLine{method: method, proto: proto}
	if u, err := parseTarget(method, target); err == nil {
		line.url, line.path = u, routePath(u)
	}
	return line
}

// readRequestLine reads the line that head begins with. While it is too short to tell,
// complete is false; where there can be no request line, ok is. Lines are taken apart
// as net/http does it.
func readRequestLine(head []byte) (line requestLine, ok, complete bool) {
	if len(head) > 0 && !httplist.IsTokenByte(head[0]) {
		return line, false, true // TLS, say
	}
	end := bytes.IndexByte(head, '\n')
	if end < 0 {
		return line, false, false
	}
	text := string(bytes.TrimSuffix(head[:end], []byte("\r")))
	method, rest, found := strings.Cut(text, " ")
	target, proto, found2 := strings.Cut(rest, " ")
	if !found || !found2 {
		return line, false, true
	}
	return newRequestLine(method, target, proto), true, true
}

// lineReader reads the request lines of one loop's connections. The clients of an
// application all send the same one, so it keeps the last: to read each anew cost a
// connection 1.5 µs and seven allocations.
type lineReader struct {
	text string // of last, as it came
	last requestLine
}

// maxKept bounds the line that is kept, bytes. Longer ones hold a token, and come once.
const maxKept = 256

// read is readRequestLine.
func (r *lineReader) read(head []byte) (line requestLine, ok, complete bool) {
	end := bytes.IndexByte(head, '\n')
	if end < 0 || end > maxKept {
		return readRequestLine(head)
	}
	if r.text != "" && string(head[:end]) == r.text {
		return r.last, true, true
	}
	if line, ok, complete = readRequestLine(head); ok {
		r.text, r.last = string(head[:end]), line
	}
	return line, ok, complete
}

// ConfigureHTTP prepares s to serve, from HTTP(), what is not a WebSocket: the handler
// it has is called for all other requests, and its limit of a request's head is the
// loops' (Config.MaxHead).
//
// The handler's requests are not cancelled when the client ends its side of the
// connection (net/http would): who has sent all it has to say may do that and still
// wait for the answer. A handler has to have a time limit of its own.
func (e *Engine) ConfigureHTTP(s *http.Server) {
	s.Handler = httpRouter{e, s.Handler}
	s.MaxHeaderBytes = max(1, e.cfg.MaxHead-headerSlop)
	s.ConnContext = withConn
}

// headerSlop is what net/http reads of a head beyond MaxHeaderBytes.
const headerSlop = 4096

type connKey struct{} // of a request's context: its *readConn

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// httpRouter stands before the HTTP server's handler.
type httpRouter struct {
	engine *Engine
	next   http.Handler
}

func (h httpRouter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, _ := r.Context().Value(connKey{}).(*readConn)
	if conn == nil {
		http.Error(w, "not a connection of the event loops", http.StatusInternalServerError)
		return
	}
	routed := !conn.served // by the loop that it came from, and the answer was: here
	conn.served = true
	if !routed {
		if line := newRequestLine(r.Method, r.RequestURI, r.Proto); h.engine.isWebSocket(line) {
			h.engine.handBack(w, r, line)
			return
		}
	}
	h.next.ServeHTTP(w, r.WithContext(context.WithoutCancel(r.Context())))
}
