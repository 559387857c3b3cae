package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/centrifugal/protocol"
	"github.com/gobwas/ws"

	"github.com/hubbub-chat/hubbub/schema"
)

// client is a small blocking WebSocket client of the protocol. It reads when
// it is asked to and never behind one's back, so a client that is not asked
// is a slow one. One goroutine may write while another reads.
//
// Everything it sends and receives goes into the ledger, and every message it
// receives is checked for what holds of all messages (see checkReply).
type client struct {
	t      testing.TB
	ledger *ledger
	conn   net.Conn
	r      *bufio.Reader
	codec  schema.Codec
	id     string // of the connect reply

	// reader's
	rest   [][]byte         // messages of the last frame
	pushes []*protocol.Push // set aside while a reply was waited for
	pings  int              // protocol pings received
	mute   bool             // does not answer pings

	mu    sync.Mutex
	last  uint32                       // id of the last command
	asked map[uint32]*protocol.Command // commands without a reply
}

// closed is the end of a connection.
type closed struct {
	code   uint16
	reason string
}

func (c closed) Error() string { return fmt.Sprintf("closed with %d %q", c.code, c.reason) }

// dialTo opens a WebSocket connection. The codec is asked for with the
// subprotocol, or not at all when a query is given.
func dialTo(t testing.TB, l *ledger, addr string, codec schema.Codec, query ...string) *client {
	t.Helper()
	c, err := tryDial(t, l, addr, codec, query...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tryDial(t testing.TB, l *ledger, addr string, codec schema.Codec, query ...string) (*client, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = conn.Close() })
	return handshake(t, l, conn, codec, query...)
}

func handshake(t testing.TB, l *ledger, conn net.Conn, codec schema.Codec, query ...string) (*client, error) {
	c := &client{t: t, ledger: l, conn: conn, r: bufio.NewReaderSize(conn, 64<<10), codec: codec, asked: make(map[uint32]*protocol.Command)}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Minute)) // a test's longest, on a slow machine
	request := "GET " + webSocketPath
	subprotocol := "centrifuge-" + codec.String()
	if len(query) > 0 {
		request, subprotocol = request+"?"+strings.Join(query, "&"), ""
	}
	request += " HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	if subprotocol != "" {
		request += "Sec-WebSocket-Protocol: " + subprotocol + "\r\n"
	}
	if _, err := conn.Write([]byte(request + "\r\n")); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("handshake answered %s", resp.Status)
	}
	if got := resp.Header.Get("Sec-WebSocket-Protocol"); got != subprotocol {
		return nil, fmt.Errorf("the server chose subprotocol %q, want %q", got, subprotocol)
	}
	return c, nil
}

// write sends one WebSocket message and notes what it publishes.
func (c *client) write(binary bool, payload []byte) error {
	c.note(payload)
	op := ws.OpText
	if binary {
		op = ws.OpBinary
	}
	return c.writeFrame(op, payload)
}

func (c *client) writeFrame(op ws.OpCode, payload []byte) error {
	f := ws.MaskFrameWith(ws.NewFrame(op, true, payload), [4]byte{1, 2, 3, 4})
	_, err := c.conn.Write(ws.MustCompileFrame(f))
	return err
}

// note reads the commands of a frame as far as they can be read.
func (c *client) note(payload []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cmd := range decodeCommands(c.codec, payload) {
		if cmd.Id == 0 {
			continue
		}
		c.asked[cmd.Id] = cmd
		if cmd.Publish != nil {
			c.ledger.sent(cmd.Publish.Channel, oneLine(cmd.Publish.Data))
		}
		if cmd.Rpc != nil {
			c.ledger.sent(says(cmd.Rpc))
		}
	}
}

func oneLine(data []byte) string { return string(bytes.ReplaceAll(data, []byte("\n"), nil)) }

// decodeCommands returns the commands of a frame up to the first that is
// malformed.
func decodeCommands(codec schema.Codec, payload []byte) (list []*protocol.Command) {
	payload = bytes.Clone(payload) // decoded strings point into it
	if codec == schema.Protobuf {
		d := protocol.NewProtobufCommandDecoder(payload)
		for {
			cmd, err := d.Decode()
			if cmd != nil {
				list = append(list, cmd)
			}
			if err != nil {
				return list
			}
		}
	}
	for line := range bytes.SplitSeq(payload, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		cmd, _ := protocol.NewJSONCommandDecoder(line).Decode() // a single one comes with io.EOF
		if cmd == nil {
			return list
		}
		list = append(list, cmd)
	}
	return list
}

// encode puts commands into one frame, giving an id to those without.
func (c *client) encode(cmds ...*protocol.Command) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b []byte
	for i, cmd := range cmds {
		if cmd.Id == 0 && cmd.Send == nil {
			c.last++
			cmd.Id = c.last
		}
		if c.codec == schema.JSON {
			if i > 0 {
				b = append(b, '\n')
			}
			b = cmd.AppendJSON(b)
			continue
		}
		one, err := cmd.MarshalCF()
		if err != nil {
			panic(err)
		}
		b = append(binary.AppendUvarint(b, uint64(len(one))), one...)
	}
	return b
}

// trySend sends commands in one frame.
func (c *client) trySend(cmds ...*protocol.Command) error {
	return c.write(c.codec.Binary(), c.encode(cmds...))
}

// next returns the next message: a reply, a push or a ping. At the end of the
// connection the error is closed, with code 1006 when there was no close
// frame.
func (c *client) next() ([]byte, *protocol.Reply, error) {
	for len(c.rest) == 0 {
		ping, err := c.readFrame()
		if ping || err != nil {
			return nil, new(protocol.Reply), err
		}
	}
	raw := c.rest[0]
	c.rest = c.rest[1:]
	r := new(protocol.Reply)
	var err error
	if c.codec == schema.JSON {
		if r, err = protocol.NewJSONReplyDecoder(raw).Decode(); err != nil {
			return raw, nil, fmt.Errorf("received %q: %w", raw, err)
		}
	} else if err = r.UnmarshalCF(raw); err != nil {
		return raw, nil, fmt.Errorf("received %x: %w", raw, err)
	}
	return raw, r, c.checkReply(raw, r)
}

// readFrame reads one frame. It reports whether that was a WebSocket ping.
func (c *client) readFrame() (ping bool, err error) {
	f, err := readFrame(c.r)
	if err != nil {
		if timedOut(err) {
			return false, err
		}
		return false, closed{1006, err.Error()}
	}
	switch f.Header.OpCode {
	case ws.OpClose:
		code, reason := ws.ParseCloseFrameData(f.Payload)
		_ = c.writeFrame(ws.OpClose, f.Payload) // the server may be gone
		if reason == "" || reason[0] == '{' {
			return false, fmt.Errorf("the server closed with %d and the reason %q", code, reason)
		}
		return false, closed{uint16(code), reason}
	case ws.OpPing:
		c.pings++
		if c.mute {
			return true, nil
		}
		return true, c.writeFrame(ws.OpPong, f.Payload)
	case ws.OpText, ws.OpBinary:
		if f.Header.OpCode.IsData() && (f.Header.OpCode == ws.OpBinary) != c.codec.Binary() {
			return false, fmt.Errorf("a frame of kind %v on a %v connection", f.Header.OpCode, c.codec)
		}
		c.rest, err = splitFrame(c.codec, f.Payload)
		return false, err
	}
	return false, fmt.Errorf("a frame of kind %v", f.Header.OpCode)
}

func timedOut(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func splitFrame(codec schema.Codec, payload []byte) ([][]byte, error) {
	if codec == schema.JSON {
		return bytes.Split(payload, []byte("\n")), nil
	}
	var list [][]byte
	for len(payload) > 0 {
		size, n := binary.Uvarint(payload)
		if n <= 0 || size > uint64(len(payload)-n) {
			return nil, fmt.Errorf("a message of %d bytes in %d", size, len(payload))
		}
		list = append(list, payload[n:n+int(size)])
		payload = payload[n+int(size):]
	}
	return list, nil
}

// results are the fields of a Reply, and of a Command, that a command has one
// of.
var results = []string{"Connect", "Subscribe", "Unsubscribe", "Publish", "Presence", "PresenceStats", "History", "Ping", "Rpc", "Refresh", "SubRefresh"}

// checkReply checks what holds of every message, answers pings, and keeps the
// ledger.
func (c *client) checkReply(raw []byte, r *protocol.Reply) error {
	if c.codec == schema.JSON {
		for _, null := range []string{`"publications":null`, `"presence":null`, `"subs":null`, `"items":null`} {
			if bytes.Contains(raw, []byte(null)) {
				return fmt.Errorf("received %s", raw)
			}
		}
	}
	switch {
	case r.Push != nil && r.Push.Pub != nil:
		return c.see(r.Push.Channel, []*protocol.Publication{r.Push.Pub})
	case r.Push != nil && (r.Push.Subscribe != nil || r.Push.Unsubscribe != nil || r.Push.Refresh != nil || r.Push.Join != nil || r.Push.Leave != nil):
		return nil
	case r.Push != nil:
		return fmt.Errorf("an unknown push: %s", raw)
	case r.Id == 0:
		c.pings++
		if want := map[schema.Codec]string{schema.JSON: "{}", schema.Protobuf: ""}[c.codec]; string(raw) != want {
			return fmt.Errorf("a ping came as %q", raw)
		}
		if c.mute {
			return nil
		}
		pong := map[schema.Codec]string{schema.JSON: "{}", schema.Protobuf: "\x00"}[c.codec]
		return c.write(c.codec.Binary(), []byte(pong))
	}
	c.mu.Lock()
	cmd := c.asked[r.Id]
	delete(c.asked, r.Id)
	c.mu.Unlock()
	if cmd == nil {
		return fmt.Errorf("an answer to nothing: %q", raw)
	}
	if r.Error != nil {
		if r.Error.Code < 100 || r.Error.Message == "" || (r.Error.Code == 100 || r.Error.Code == 111) != r.Error.Temporary {
			return fmt.Errorf("a bad error: %q", raw)
		}
		return nil
	}
	// One result, and it is the command's, however empty.
	for _, name := range results {
		asked := reflect.ValueOf(cmd).Elem().FieldByName(name)
		got := reflect.ValueOf(r).Elem().FieldByName(name)
		if got.IsNil() != asked.IsNil() {
			return fmt.Errorf("the answer %q is not that of %v", raw, cmd)
		}
	}
	switch {
	case cmd.Publish != nil:
		c.ledger.acked(cmd.Publish.Channel, oneLine(cmd.Publish.Data))
	case cmd.Subscribe != nil:
		return c.see(cmd.Subscribe.Channel, r.Subscribe.Publications)
	case cmd.History != nil:
		return c.see(cmd.History.Channel, r.History.Publications)
	}
	return nil
}

func (c *client) see(room string, pubs []*protocol.Publication) error {
	for _, p := range pubs {
		if p.Offset == 0 {
			return fmt.Errorf("a publication without an offset: %v", p)
		}
		if other, ok := c.ledger.saw(room, p.Offset, string(p.Data)); !ok {
			return fmt.Errorf("offset %d of room %q is %.80s here and %.80s elsewhere", p.Offset, room, p.Data, other)
		}
	}
	return nil
}

// tryCall sends a command and returns its reply. Pushes that come before it
// are set aside.
func (c *client) tryCall(cmd *protocol.Command) (*protocol.Reply, error) {
	if err := c.trySend(cmd); err != nil {
		return nil, err
	}
	return c.tryReply(cmd.Id)
}

func (c *client) tryReply(id uint32) (*protocol.Reply, error) {
	for {
		_, r, err := c.next()
		if err != nil {
			return nil, err
		}
		switch {
		case r.Id == id:
			return r, nil
		case r.Push != nil:
			c.pushes = append(c.pushes, r.Push)
		case r.Id != 0:
			return nil, fmt.Errorf("answer %v, want that of %d", r, id)
		}
	}
}

// tryPush returns the next push.
func (c *client) tryPush() (*protocol.Push, error) {
	for len(c.pushes) == 0 {
		_, r, err := c.next()
		if err != nil {
			return nil, err
		}
		if r.Push != nil {
			return r.Push, nil
		}
		if r.Id != 0 {
			return nil, fmt.Errorf("answer %v, want a push", r)
		}
	}
	p := c.pushes[0]
	c.pushes = c.pushes[1:]
	return p, nil
}

func (c *client) cut() { _ = c.conn.Close() }

// readFrame reads one frame of the server, whose lengths can be believed.
func readFrame(r io.Reader) (ws.Frame, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return ws.Frame{}, err
	}
	payload := make([]byte, h.Length)
	_, err = io.ReadFull(r, payload)
	return ws.Frame{Header: h, Payload: payload}, err
}
