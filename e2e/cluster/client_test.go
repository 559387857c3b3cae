package cluster

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// client is a blocking client that speaks the JSON protocol as a person would
// by hand.
type client struct {
	t      testing.TB
	conn   net.Conn
	r      *bufio.Reader
	hello  string // the connect reply
	last   uint32
	rest   []string // messages of the last frame
	pushes []string // set aside while a reply was waited for
}

// refused is a handshake's answer that is not a WebSocket.
type refused struct{ status int }

func (r refused) Error() string { return fmt.Sprintf("handshake answered %d", r.status) }

// dialOptions of a handshake; the zero value does.
type dialOptions struct {
	query  string
	header http.Header
	tls    *tls.Config
}

func tryDial(addr string, o dialOptions) (net.Conn, *bufio.Reader, error) {
	d := ws.Dialer{Timeout: time.Minute, Header: ws.HandshakeHeaderHTTP(o.header), TLSConfig: o.tls}
	scheme := "ws"
	if o.tls != nil {
		scheme = "wss"
	}
	conn, r, _, err := d.Dial(context.Background(), scheme+"://"+addr+"/connection/websocket"+o.query)
	if status := ws.StatusError(0); errors.As(err, &status) {
		return nil, nil, refused{int(status)}
	}
	if err != nil {
		return nil, nil, err
	}
	if r == nil {
		r = bufio.NewReader(conn)
	}
	return conn, r, nil
}

// dial opens a connection and connects as a guest.
func dial(t testing.TB, addr string, o dialOptions) *client {
	t.Helper()
	conn, r, err := tryDial(addr, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := &client{t: t, conn: conn, r: r}
	c.hello = c.call(`"connect":{}`)
	return c
}

// call sends a command and returns its reply.
func (c *client) call(command string) string {
	c.t.Helper()
	c.last++
	if err := wsutil.WriteClientText(c.conn, fmt.Appendf(nil, `{"id":%d,%s}`, c.last, command)); err != nil {
		c.t.Fatal(err)
	}
	for {
		line := c.line()
		var reply struct {
			ID    uint32          `json:"id"`
			Error json.RawMessage `json:"error"`
		}
		if err := json.Unmarshal([]byte(line), &reply); err != nil {
			c.t.Fatalf("%q: %v", line, err)
		}
		switch {
		case reply.ID == 0:
			c.pushes = append(c.pushes, line)
		case reply.ID != c.last || reply.Error != nil:
			c.t.Fatalf("%s was answered %s", command, line)
		default:
			return line
		}
	}
}

// push waits for a push that holds a text.
func (c *client) push(holds string) string {
	c.t.Helper()
	for {
		for i, p := range c.pushes {
			if strings.Contains(p, holds) {
				c.pushes = append(c.pushes[:i], c.pushes[i+1:]...)
				return p
			}
		}
		c.pushes = append(c.pushes, c.line())
	}
}

// line is the next message; pings are answered and left out.
func (c *client) line() string {
	c.t.Helper()
	for {
		for len(c.rest) > 0 {
			line := c.rest[0]
			c.rest = c.rest[1:]
			if line != "{}" {
				return line
			}
			if err := wsutil.WriteClientText(c.conn, []byte("{}")); err != nil {
				c.t.Fatal(err)
			}
		}
		_ = c.conn.SetReadDeadline(time.Now().Add(time.Minute))
		data, _, err := wsutil.ReadServerData(readWriter{c.r, c.conn})
		if err != nil {
			c.t.Fatal(err)
		}
		c.rest = strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	}
}

// readWriter reads what the handshake may have read ahead.
type readWriter struct {
	*bufio.Reader
	net.Conn
}

func (rw readWriter) Read(b []byte) (int, error) { return rw.Reader.Read(b) }
