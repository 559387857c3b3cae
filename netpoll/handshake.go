package netpoll

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
)

const (
	maxHead    = 8 << 10 // bytes of a request or response head
	maxHeaders = 64      // lines of it
)

// Request is a WebSocket handshake on its way to an Upgrade function, and
// dead when that returns.
type Request struct {
	Path, Query []byte
	Host        []byte
	Origin      []byte // empty when the client sent none
	Forwarded   []byte // X-Forwarded-For
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
	loop    *Loop
	ws      ws.Upgrader
	req     Request
	deflate wsflate.Extension
	handler Handler
	offers  []string
	in      bytes.Reader
	out     bytes.Buffer
}

// The in-memory connection that gobwas/ws is given: it expects a blocking one.
func (u *upgrader) Read(b []byte) (int, error)  { return u.in.Read(b) }
func (u *upgrader) Write(b []byte) (int, error) { return u.out.Write(b) }

func (u *upgrader) init(l *Loop) {
	u.loop = l
	u.ws = ws.Upgrader{
		ReadBufferSize:  maxHead,
		WriteBufferSize: 512,
		OnRequest:       u.onRequest,
		OnHost:          func(host []byte) error { u.req.Host = bytes.Clone(host); return nil },
		OnHeader:        u.onHeader,
		ProtocolCustom:  u.onProtocol,
		OnBeforeUpgrade: u.onBeforeUpgrade,
	}
	if l.engine.cfg.Compression {
		// Without context takeover: a window per connection would be many
		// times what the connection costs.
		u.deflate.Parameters = wsflate.DefaultParameters
		u.ws.Negotiate = u.deflate.Negotiate
	}
}

func (u *upgrader) onRequest(uri []byte) error {
	path, query, _ := bytes.Cut(uri, []byte("?"))
	u.req.Path, u.req.Query = bytes.Clone(path), bytes.Clone(query)
	return nil
}

func (u *upgrader) onHeader(key, value []byte) error {
	switch {
	case bytes.EqualFold(key, []byte("Origin")):
		u.req.Origin = bytes.Clone(value)
	case bytes.EqualFold(key, []byte("X-Forwarded-For")):
		u.req.Forwarded = bytes.Clone(value)
	}
	return nil
}

// onProtocol may be called once per header line; the most preferred of all
// that were offered wins.
func (u *upgrader) onProtocol(value []byte) (string, bool) {
	for offer := range strings.SplitSeq(string(value), ",") {
		u.offers = append(u.offers, strings.TrimSpace(offer))
	}
	for _, p := range u.loop.engine.cfg.Subprotocols {
		for _, offer := range u.offers {
			if p == offer {
				u.req.Subprotocol = p
				return p, true
			}
		}
	}
	return "", true
}

func (u *upgrader) onBeforeUpgrade() (ws.HandshakeHeader, error) {
	if _, ok := u.deflate.Accepted(); ok {
		u.req.conn.mode |= modeDeflate
	}
	h, reject := u.loop.engine.cfg.Upgrade(&u.req)
	if reject != nil {
		return nil, ws.RejectConnectionError(
			ws.RejectionStatus(reject.Status),
			ws.RejectionReason(reject.Reason))
	}
	u.handler = h
	return nil, nil
}

// answer runs the handshake in head. It returns the response and the Handler,
// which is nil when the response refuses.
func (u *upgrader) answer(c *Conn, head []byte, client netip.AddrPort) ([]byte, Handler) {
	u.req = Request{conn: c, client: client}
	u.handler = nil
	u.deflate.Reset()
	u.offers = u.offers[:0]
	u.in.Reset(head)
	u.out.Reset()
	_, err := u.ws.Upgrade(u)
	if err != nil {
		if u.out.Len() == 0 || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return errorResponse(http.StatusBadRequest, "malformed handshake"), nil
		}
		return u.out.Bytes(), nil
	}
	return u.out.Bytes(), u.handler
}

func errorResponse(status int, text string) []byte {
	var b bytes.Buffer
	r := http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Close: true,
		Header:        http.Header{"Content-Type": {"text/plain; charset=utf-8"}},
		Body:          io.NopCloser(strings.NewReader(text + "\n")),
		ContentLength: int64(len(text) + 1),
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
	path, complete := requestPath(head)
	if complete && !c.loop.engine.cfg.WebSocket(path) {
		c.loop.handOver(c, head, client)
		return
	}
	end := bytes.Index(head, []byte("\r\n\r\n")) + 4
	switch {
	case len(head) > maxHead && (end < 4 || end > maxHead), bytes.Count(head[:max(end, 0)], []byte("\n")) > maxHeaders+2:
		c.refuse(errorResponse(http.StatusRequestHeaderFieldsTooLarge, "request head too large"))
		return
	case end < 4:
		c.stash(b)
		return
	}
	rest := head[end:]
	response, h := c.loop.upgrade.answer(c, head[:end], client)
	if h == nil {
		c.refuse(response)
		return
	}
	c.in = nil
	c.open(h, response)
	c.readFrames(rest)
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
	c.in = nil
	c.headRead()
	c.state = stateDeaf
	c.since = c.loop.second
	c.code = codeAbnormal
	o := c.queue()
	o.buf = append(o.buf, response...)
}

// requestPath finds the path in a request head. While the head is too short
// to tell, complete is false; what is no request at all has an empty path.
func requestPath(head []byte) (path []byte, complete bool) {
	const longestMethod = 16
	method, rest, found := bytes.Cut(head, []byte(" "))
	for _, ch := range method[:min(len(method), longestMethod)] {
		if ch < 'A' || ch > 'Z' {
			return nil, true
		}
	}
	if len(method) > longestMethod {
		return nil, true
	}
	if !found {
		return nil, false
	}
	end := bytes.IndexAny(rest[:min(len(rest), maxHead)], " ?\r\n")
	if end < 0 {
		return nil, len(rest) >= maxHead
	}
	return rest[:end], true
}
