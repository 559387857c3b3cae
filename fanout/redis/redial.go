package redis

import (
	"context"
	"crypto/tls"
	"net"
	"sync"

	"github.com/redis/rueidis"
)

// dialer remembers the connections that it makes, so that they can be closed
// when another server has taken over behind the same address: to a connection
// a primary that becomes a replica is just a server that refuses writes.
type dialer struct {
	dial func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error)

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// newDialer makes a dialer for what rueidis would dial with.
func newDialer(o *rueidis.ClientOption) *dialer {
	d := &dialer{dial: o.DialCtxFn, conns: make(map[net.Conn]struct{})}
	if d.dial == nil {
		d.dial = func(ctx context.Context, addr string, nd *net.Dialer, config *tls.Config) (net.Conn, error) {
			if config != nil {
				return (&tls.Dialer{NetDialer: nd, Config: config}).DialContext(ctx, "tcp", addr)
			}
			return nd.DialContext(ctx, "tcp", addr)
		}
	}
	return d
}

// open implements rueidis.ClientOption.DialCtxFn.
func (d *dialer) open(ctx context.Context, addr string, nd *net.Dialer, config *tls.Config) (net.Conn, error) {
	conn, err := d.dial(ctx, addr, nd, config)
	if err != nil {
		return nil, err
	}
	known := &knownConn{Conn: conn, dialer: d}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conns[known] = struct{}{}
	return known, nil
}

// closeAll closes every connection. Whoever has one dials anew.
func (d *dialer) closeAll() {
	d.mu.Lock()
	var list []net.Conn
	for c := range d.conns {
		list = append(list, c)
	}
	d.mu.Unlock()
	for _, c := range list {
		_ = c.Close() // it is not needed any more
	}
}

// knownConn is a connection that its dialer knows.
type knownConn struct {
	net.Conn
	dialer *dialer
}

// Close implements net.Conn.
func (c *knownConn) Close() error {
	c.dialer.mu.Lock()
	delete(c.dialer.conns, c)
	c.dialer.mu.Unlock()
	return c.Conn.Close()
}

// redial closes all connections if a new one leads to a server that takes
// writes, as write finds out: those that there are lead elsewhere. Until then
// they stay, since members hear what they bring.
func (c *Client) redial(write func(rueidis.Client) error) error {
	options := c.options
	options.DialCtxFn = c.dialer.dial
	fresh, err := rueidis.NewClient(options)
	if err != nil {
		return err
	}
	defer fresh.Close()
	if err := write(fresh); err != nil {
		return err
	}
	c.dialer.closeAll()
	return nil
}
