package e2e

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/centrifugal/centrifuge-go"
	"go.uber.org/goleak"
)

// binary is the server under test, see the package comment.
var binary string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	binary = os.Getenv("HUBBUB_BIN")
	if binary == "" {
		dir, err := os.MkdirTemp("", "hubbub-e2e-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "hubbub")
		build := exec.Command("go", "build", "-o", binary, "./server")
		build.Dir = filepath.Join("..", "..")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			panic(string(out))
		}
	}
	code := m.Run()
	if code == 0 {
		// The SDK waits out the time limit of what it asked a connection that is gone.
		sdk := goleak.IgnoreTopFunction("github.com/centrifugal/centrifuge-go.(*Client).sendAsync.func1")
		err := goleak.Find(sdk)
		for end := time.Now().Add(patience); err != nil && time.Now().Before(end); { // they may be about to end
			err = goleak.Find(sdk)
		}
		if err != nil {
			os.Stderr.WriteString(err.Error())
			return 1
		}
	}
	return code
}

// server is one data directory behind one address, over any number of
// processes: clients reach them through a proxy that can cut.
type server struct {
	t     testing.TB
	data  string
	env   []string // settings, as NAME=value
	proxy *proxy

	cmd    *exec.Cmd
	stderr bytes.Buffer
}

func startServer(t testing.TB, env ...string) *server {
	t.Helper()
	s := &server{t: t, data: t.TempDir(), env: env, proxy: startProxy(t)}
	s.run()
	t.Cleanup(s.kill)
	return s
}

// run starts a process on the directory.
func (s *server) run() {
	s.t.Helper()
	s.stderr.Reset()
	s.cmd = exec.Command(binary, "serve", "--addr=127.0.0.1:0", "--data="+s.data, "--drain=100ms")
	s.cmd.Env = append(os.Environ(), s.env...)
	s.cmd.Stderr = &s.stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	_, addr, ok := strings.Cut(strings.TrimSpace(line), "http://")
	if !ok {
		s.kill()
		s.t.Fatalf("the server said %q, %v and %s", line, err, s.stderr.Bytes())
	}
	s.proxy.setTarget(strings.TrimSuffix(addr, "/"))
}

// kill ends the process with SIGKILL, if there is one.
func (s *server) kill() {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait() // fails, since it was killed
	}
}

// stop ends the process gracefully.
func (s *server) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("the server ended with %v: %s", err, s.stderr.Bytes())
	}
}

func (s *server) url() string { return "ws://" + s.proxy.addr + "/connection/websocket" }

// proxy passes TCP on, and cuts when told to.
type proxy struct {
	addr string
	ln   net.Listener
	wg   sync.WaitGroup

	mu     sync.Mutex
	target string
	conns  map[net.Conn]bool
	closed bool // lets nobody through
}

func startProxy(t testing.TB) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: ln.Addr().String(), ln: ln, conns: make(map[net.Conn]bool)}
	p.wg.Go(p.accept) // stopped by ln.Close
	t.Cleanup(func() {
		_ = ln.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) setTarget(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target, p.closed = addr, false
}

// cut ends all connections without a word, and lets nobody through until
// setTarget or open.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
}

func (p *proxy) open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = false
}

func (p *proxy) accept() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.pass(c) }) // ends with either connection
	}
}

func (p *proxy) pass(c net.Conn) {
	defer c.Close()
	p.mu.Lock()
	target, closed := p.target, p.closed
	p.mu.Unlock()
	if closed {
		return
	}
	up, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer up.Close()
	p.mu.Lock()
	p.conns[c], p.conns[up] = true, true
	closed = p.closed
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, c)
		delete(p.conns, up)
	}()
	if closed {
		return
	}
	p.wg.Go(func() { // ends with either connection
		_, _ = io.Copy(up, c)
		_ = up.Close()
		_ = c.Close()
	})
	_, _ = io.Copy(c, up)
}

// transports are the two kinds of client.
var transports = []struct {
	name string
	make func(string, centrifuge.Config) *centrifuge.Client
}{
	{"json", centrifuge.NewJsonClient},
	{"protobuf", centrifuge.NewProtobufClient},
}

// eachTransport runs a test with both kinds of client.
func eachTransport(t *testing.T, test func(t *testing.T, dial func(string) *centrifuge.Client)) {
	for _, kind := range transports {
		t.Run(kind.name, func(t *testing.T) {
			test(t, func(url string) *centrifuge.Client {
				t.Helper()
				c := kind.make(url, centrifuge.Config{
					MinReconnectDelay: 10 * time.Millisecond, MaxReconnectDelay: 50 * time.Millisecond,
				})
				t.Cleanup(c.Close)
				if err := c.Connect(); err != nil {
					t.Fatal(err)
				}
				return c
			})
		})
	}
}

// inbox is a subscription and what came of it.
type inbox struct {
	t            *testing.T
	sub          *centrifuge.Subscription
	subscribed   chan centrifuge.SubscribedEvent
	publications chan centrifuge.Publication
}

func subscribe(t *testing.T, c *centrifuge.Client, room string) *inbox {
	t.Helper()
	sub, err := c.NewSubscription(room)
	if err != nil {
		t.Fatal(err)
	}
	b := &inbox{t, sub, make(chan centrifuge.SubscribedEvent, 100), make(chan centrifuge.Publication, 100_000)}
	sub.OnSubscribed(func(e centrifuge.SubscribedEvent) { b.subscribed <- e })
	sub.OnPublication(func(e centrifuge.PublicationEvent) { b.publications <- e.Publication })
	sub.OnError(func(e centrifuge.SubscriptionErrorEvent) { t.Logf("subscription: %v", e.Error) })
	sub.OnUnsubscribed(func(e centrifuge.UnsubscribedEvent) {
		if e.Code >= 100 { // below: told to, or closed
			t.Errorf("unsubscribed: %d %s", e.Code, e.Reason)
		}
	})
	if err := sub.Subscribe(); err != nil {
		t.Fatal(err)
	}
	return b
}

const patience = time.Minute

func next[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("not within %v: %s", patience, what)
		panic("unreachable")
	}
}

// take reads n publications and returns their data. Offsets only grow.
func (b *inbox) take(n int, after uint64) (data []string, last uint64) {
	b.t.Helper()
	for range n {
		p := next(b.t, "a publication", b.publications)
		if p.Offset <= after {
			b.t.Errorf("offset %d came after %d", p.Offset, after)
		}
		after = p.Offset
		data = append(data, string(p.Data))
	}
	return data, after
}

func publish(t *testing.T, c *centrifuge.Client, room, data string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := c.Publish(ctx, room, []byte(data)); err != nil {
		t.Fatalf("publish: %v", err)
	}
}
