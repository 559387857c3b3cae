package netpoll

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"net/netip"
	"strings"

	"github.com/hubbub-chat/hubbub/internal/httplist"
)

// Request is a WebSocket handshake on its way to an Upgrade function, and
// dead when that returns.
type Request struct {
	Path, Query string // the path is in its normal form
	Host        string // of the target where that is a whole URL, or of the header
	Origin      string // empty when the client sent none
	Forwarded   string // X-Forwarded-For: all lines, joined by commas
	Subprotocol string // chosen from Config.Subprotocols, or empty

	conn   *Conn
	client netip.AddrPort // whom a proxy connects for, if it says so
}

// Peer is the address of who connected, or of whom a proxy connected for.
func (r *Request) Peer() netip.Addr {
	if r.client.IsValid() {
		return r.client.Addr()
	}
	return r.conn.RemoteAddr().Addr()
}

// Conn is the connection that would open.
func (r *Request) Conn() *Conn { return r.conn }

// Reject refuses a handshake with an HTTP status and a line of text.
type Reject struct {
	Status int
	Reason string
}

// upgrader answers the handshakes of one loop, with one set of memory.
type upgrader struct {
	loop   *Loop
	line   lineReader
	req    Request
	header fields
	out    []byte
}

func (u *upgrader) init(l *Loop) { u.loop = l }

// answer runs the handshake in head, whose first line is line. It returns the
// response, until the next call, and the Handler, which is nil when the response
// refuses.
func (u *upgrader) answer(c *Conn, line requestLine, head []byte, client netip.AddrPort) ([]byte, Handler) {
	_, behind, _ := bytes.Cut(head, []byte("\n"))
	if err := u.header.read(behind); err != nil || !httplist.IsToken(line.method) {
		return errorResponse(http.StatusBadRequest, "malformed request"), nil
	}
	u.req = Request{conn: c, client: client}
	if refused := u.check(line); refused != nil {
		return refused, nil
	}
	agreed, deflate := "", false
	if u.loop.engine.cfg.Compression {
		if agreed, deflate = acceptDeflate(u.header.lines[fieldExtensions]); deflate {
			c.mode |= modeDeflate // which the Handler may ask for
		}
	}
	h, reject := u.loop.engine.cfg.Upgrade(&u.req)
	if reject != nil {
		return errorResponse(reject.Status, reject.Reason), nil
	}
	b := append(u.out[:0], "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	b = appendAcceptKey(b, u.header.get(fieldKey))
	if u.req.Subprotocol != "" {
		b = append(append(b, "\r\nSec-WebSocket-Protocol: "...), u.req.Subprotocol...)
	}
	if deflate {
		b = append(append(b, "\r\nSec-WebSocket-Extensions: "...), agreed...)
	}
	u.out = append(b, "\r\n\r\n"...)
	return u.out, h
}

// check applies RFC 6455, section 4.2.1, and takes from the request what an Upgrade
// function wants to know. It returns the response when it refuses.
func (u *upgrader) check(line requestLine) []byte {
	h := &u.header
	bad := func(text string) []byte { return errorResponse(http.StatusBadRequest, text) }
	if line.method != http.MethodGet {
		return response(line.method, http.StatusMethodNotAllowed, "a WebSocket handshake is a GET", "Allow", http.MethodGet)
	}
	if line.url == nil {
		return bad("malformed request target")
	}
	switch major, minor, ok := http.ParseHTTPVersion(line.proto); {
	case !ok:
		return bad("malformed HTTP version")
	case major != 1:
		return errorResponse(http.StatusHTTPVersionNotSupported, "a WebSocket handshake is HTTP/1.1")
	case minor < 1:
		return bad("a WebSocket handshake is HTTP/1.1")
	}
	// What may be there once at most, and means something else to each reader
	// where it is there twice.
	for _, once := range [...]field{fieldHost, fieldKey, fieldVersion, fieldOrigin} {
		if len(h.lines[once]) > 1 {
			return bad("more than one " + fieldNames[once])
		}
	}
	switch {
	case len(h.lines[fieldHost]) == 0:
		return bad("no Host")
	case !httplist.HasToken(h.lines[fieldUpgrade], "websocket"):
		return bad("no Upgrade to websocket")
	case !httplist.HasToken(h.lines[fieldConnection], "Upgrade"):
		return bad("Connection has no Upgrade")
	case len(h.lines[fieldVersion]) == 0:
		return bad("no Sec-WebSocket-Version")
	case h.get(fieldVersion) != "13":
		return response(line.method, http.StatusUpgradeRequired, "the version is 13", "Sec-WebSocket-Version", "13")
	case !isNonce(h.get(fieldKey)):
		return bad("no Sec-WebSocket-Key of 16 bytes")
	case len(h.lines[fieldTransferEncoding]) > 0, strings.Trim(strings.Join(h.lines[fieldContentLength], ""), "0") != "":
		return bad("a WebSocket handshake has no body") // or its bytes would be taken for frames
	}
	r := &u.req
	r.Path, r.Query = line.path, line.url.RawQuery
	if r.Host = line.url.Host; r.Host == "" {
		r.Host = strings.Clone(h.get(fieldHost))
	}
	r.Origin = strings.Clone(h.get(fieldOrigin))
	r.Forwarded = strings.Clone(strings.Join(h.lines[fieldForwardedFor], ","))
	r.Subprotocol = u.subprotocol(h.lines[fieldProtocol])
	return nil
}

// isNonce reports whether a Sec-WebSocket-Key is 16 bytes in base64.
func isNonce(key string) bool {
	var in [24]byte
	var nonce [18]byte
	if len(key) != len(in) {
		return false // or line breaks, which a decoder skips
	}
	copy(in[:], key)
	n, err := base64.StdEncoding.Decode(nonce[:], in[:])
	return err == nil && n == 16
}

// subprotocol is the most preferred of all that are offered.
func (u *upgrader) subprotocol(offers []string) string {
	for _, p := range u.loop.engine.cfg.Subprotocols {
		for offer := range httplist.Members(offers) {
			if p == offer {
				return p
			}
		}
	}
	return ""
}

func errorResponse(status int, text string) []byte { return response("", status, text, "", "") }

// response is an answer to a request of this method behind which the connection ends,
// with a header field where it has a name.
func response(method string, status int, text, name, value string) []byte {
	var b bytes.Buffer
	r := http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Close: true,
		Request:       &http.Request{Method: method},
		Header:        http.Header{"Content-Type": {"text/plain; charset=utf-8"}},
		Body:          io.NopCloser(strings.NewReader(text + "\n")),
		ContentLength: int64(len(text) + 1),
	}
	if name != "" {
		r.Header[name] = []string{value}
	}
	_ = r.Write(&b) // a bytes.Buffer takes everything
	return b.Bytes()
}

// readRequest collects what comes before the frames: a PROXY header, where
// there must be one, and the request head. The header is read again with each
// piece of the head that comes, which saves keeping what it says.
func (c *Conn) readRequest(b []byte) {
	head := c.collect(b)
	var client netip.AddrPort
	if proxied := c.loop.engine.cfg.Proxied; proxied != nil && proxied(c.RemoteAddr().Addr()) {
		var n int
		var err error
		if client, n, err = parseProxy(head); err != nil {
			c.loop.stats.badHandshakes.Add(1)
			c.end(codeAbnormal)
			return
		}
		if n == 0 {
			c.stash(b)
			return
		}
		head = head[n:]
	}
	c.request(b, head, client)
}

// request finds out whose the request in head is, and answers a WebSocket
// handshake. b is the newest piece of it.
func (c *Conn) request(b, head []byte, client netip.AddrPort) {
	limit := c.loop.engine.cfg.MaxHead
	line, ok, complete := c.loop.upgrade.line.read(head)
	switch {
	case complete && !ok:
		c.refuse(errorResponse(http.StatusBadRequest, "malformed request line"))
		return
	case complete && !c.loop.engine.isWebSocket(line):
		c.loop.handOver(c, head, client)
		return
	}
	end := 0
	if complete {
		end = headEnd(head, len(head)-len(b))
	}
	switch {
	case end > limit, end == 0 && len(head) >= limit:
		c.refuse(errorResponse(http.StatusRequestHeaderFieldsTooLarge, "request head too large"))
	case end == 0:
		c.stash(b)
	default:
		c.handshake(line, head[:end], head[end:], client)
	}
}

// handshake answers a whole request that was routed here; rest is what came behind it.
func (c *Conn) handshake(line requestLine, head, rest []byte, client netip.AddrPort) {
	if !c.keep() || c.turnAway() {
		return
	}
	response, h := c.loop.upgrade.answer(c, line, head, client)
	if h == nil {
		c.refuse(response)
		return
	}
	c.in = nil
	c.open(h, response)
	c.readFrames(rest)
}

// keep says that the connection is not for the HTTP server: it is written to from now on.
// It reports false where that cannot be, and the connection has ended.
func (c *Conn) keep() bool {
	if err := c.loop.poll.keep(c); err != nil {
		c.end(codeAbnormal)
		return false
	}
	return true
}

// headEnd is where a head ends, behind its first empty line, or 0 while there is none.
// Lines end with CRLF, or LF alone (RFC 9112, section 2.2). None of the first known
// bytes is the end of the end.
func headEnd(head []byte, known int) int {
	from := max(0, known-2)
	for {
		i := bytes.IndexByte(head[from:], '\n')
		if i < 0 {
			return 0
		}
		from += i + 1
		switch rest := head[from:]; {
		case bytes.HasPrefix(rest, []byte("\n")):
			return from + 1
		case bytes.HasPrefix(rest, []byte("\r\n")):
			return from + 2
		}
	}
}

// collect returns everything read so far.
func (c *Conn) collect(b []byte) []byte {
	if c.in == nil {
		return b
	}
	c.in.msg = append(c.in.msg, b...)
	return c.in.msg
}

// stash keeps an unfinished head until more comes.
func (c *Conn) stash(b []byte) {
	if c.in == nil {
		c.in = &inbound{msg: bytes.Clone(b)}
	}
}

// open ends the handshake. first is sent before everything else.
func (c *Conn) open(h Handler, first []byte) {
	c.loop.stats.handshakes.Add(1)
	c.handler = h
	c.headRead()
	c.state = stateOpen
	c.since = c.loop.second
	if len(first) > 0 {
		o := c.queue()
		o.buf = append(o.buf, first...)
	}
	if o, ok := h.(Opener); ok {
		o.Opened(c)
	}
}

// refuse sends an HTTP response and ends the connection.
func (c *Conn) refuse(response []byte) {
	c.loop.stats.badHandshakes.Add(1)
	if !c.keep() {
		return
	}
	c.in = nil
	c.headRead()
	c.state = stateDeaf
	c.since = c.loop.second
	c.code = codeAbnormal
	o := c.queue()
	o.buf = append(o.buf, response...)
}
