package backends

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Proxy is an address of TCP behind which servers may change, like that of a
// load balancer or a virtual IP: a new connection leads to whatever server is
// there, and one that is open stays with its own.
type Proxy struct {
	Addr string

	listener net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex
	target string
	conns  map[net.Conn]struct{}
}

// NewProxy starts a proxy that leads to an address, until the test ends.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	p := &Proxy{Addr: Addr(t), target: target, conns: make(map[net.Conn]struct{})}
	var err error
	if p.listener, err = net.Listen("tcp", p.Addr); err != nil {
		t.Fatal(err)
	}
	p.wg.Go(p.accept) // ends with the listener
	t.Cleanup(func() {
		_ = p.listener.Close()
		p.Cut()
		p.wg.Wait()
	})
	return p
}

// Lead has new connections lead elsewhere.
func (p *Proxy) Lead(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Cut closes all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *Proxy) accept() {
	for {
		from, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(from) }) // ends when either side closes
	}
}

// serve copies both ways until one side ends.
func (p *Proxy) serve(from net.Conn) {
	defer from.Close()
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	to, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer to.Close()
	p.mu.Lock()
	p.conns[from], p.conns[to] = struct{}{}, struct{}{}
	p.mu.Unlock()
	ended := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
		go func() { // ends when the connections are closed, below
			_, _ = io.Copy(way[0], way[1]) // the other side sees the end
			ended <- struct{}{}
		}()
	}
	<-ended
	_ = from.Close()
	_ = to.Close()
	<-ended
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, from)
	delete(p.conns, to)
}
