package netpoll

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestHTTPBesideWebSocket(t *testing.T) {
	_, addr, _ := startEcho(t, Config{})
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for _, path := range []string{"/", "/wsx", "/api/info?x=1"} { // one kept-alive connection
		resp, err := client.Get("http://" + addr + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if want, _, _ := strings.Cut("page "+path, "?"); string(body) != want {
			t.Errorf("GET %s: %q, want %q", path, body, want)
		}
	}
	p := handshake(t, addr)
	p.send(text("x"))
	p.expect(ws.OpText, "x")
}

func TestRequestInPieces(t *testing.T) {
	_, addr, _ := startEcho(t, Config{})
	for _, c := range []struct{ name, request, status string }{
		{"page", "GET /page HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "200"},
		{"upgrade", "GET /ws?x=1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", "101"},
		{"not an upgrade", "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
		{"bad version", "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 12\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", "426"},
		{"POST", "POST /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", "405"},
		{"garbage", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400"},
		{"endless head", "GET /ws HTTP/1.1\r\nX: " + strings.Repeat("x", 17_000), "431"},
		{"many headers", "GET /ws HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", 3000) + "\r\n", "431"},
		{"endless line", "GET /ws?" + strings.Repeat("x", 17_000), "431"},
		{"no line", "\x16\x03\x01\x02", "400"},
	} {
		for _, step := range []int{1 << 20, 7} {
			t.Run(fmt.Sprint(c.name, " by ", step), func(t *testing.T) {
				t.Parallel()
				p := connect(t, addr)
				for b := []byte(c.request); len(b) > 0; {
					n := min(step, len(b))
					if _, err := p.Write(b[:n]); err != nil {
						break
					}
					b = b[n:]
				}
				line, err := p.r.ReadString('\n')
				if err != nil || !strings.HasPrefix(line, "HTTP/1.1 "+c.status) {
					t.Fatalf("answered %q, %v; want %s", line, err, c.status)
				}
			})
		}
	}
}

func TestHalfSentHandshakeIsDropped(t *testing.T) {
	_, addr, _ := startEcho(t, Config{HandshakeTimeout: time.Second})
	for _, sent := range []string{"", "GET /w", "GET /ws HTTP/1.1\r\nHost: x\r\n"} {
		p := connect(t, addr)
		p.send([]byte(sent))
		p.expectEOF()
	}
}

func TestServerClose(t *testing.T) {
	e, addr, ended := startEcho(t, Config{CloseTimeout: time.Second})
	polite, rude := handshake(t, addr), handshake(t, addr)
	for i := 0; e.Stats().Handshakes < 2; i++ {
		time.Sleep(time.Millisecond)
	}
	for _, l := range e.Loops() {
		l.Post(func() { l.Each(func(c *Conn) { c.Close(Close{3001, "shutdown"}) }) })
	}
	polite.expectClose(3001)
	if f := rude.read(); f.Header.OpCode != ws.OpClose {
		t.Fatalf("got %v, want a close frame", f.Header.OpCode)
	}
	rude.expectEOF() // after CloseTimeout
	for range 2 {
		if code := <-ended; code != 3001 {
			t.Errorf("the handler was told %d, want 3001", code)
		}
	}
}

func TestPanicCostsOneConnection(t *testing.T) {
	var panics []any
	_, addr, ended := startEcho(t, Config{Panicked: func(v any, stack []byte) {
		if !bytes.Contains(stack, []byte("harness_test.go")) {
			t.Error("the stack does not lead to the panic")
		}
		panics = append(panics, v)
	}})
	other, p := handshake(t, addr), handshake(t, addr)
	p.send(text("panic"))
	p.expectClose(1011)
	<-ended
	if len(panics) != 1 || panics[0] != "told to" {
		t.Errorf("Panicked was told %v", panics)
	}
	other.send(text("x"))
	other.expect(ws.OpText, "x")
}

func TestFullServerAnswers503(t *testing.T) {
	_, addr, _ := startEcho(t, Config{MaxConns: 1})
	handshake(t, addr)
	p := connect(t, addr)
	p.send([]byte(goodRequest))
	line, err := p.r.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 503") {
		t.Fatalf("answered %q, %v; want 503", line, err)
	}
}

// stream sends frames whenever the socket takes some, and a reply each time it
// does not take all.
type stream struct {
	discard
	frames  []byte
	replies int
	ended   chan uint16
}

func (s *stream) Opened(c *Conn)  { s.send(c) }
func (s *stream) Drained(c *Conn) { s.send(c) }
func (s *stream) send(c *Conn) {
	for len(s.frames) > 0 {
		n := c.Send(s.frames)
		if s.frames = s.frames[n:]; len(s.frames) > 0 && c.Queued() > 70_000 {
			panic("more than the rest of one frame was kept")
		}
		if len(s.frames) > 0 && c.Blocked() {
			s.replies++
			c.Reply(false, []byte("reply"))
			return
		}
	}
}
func (s *stream) Closed(_ *Conn, code uint16) { s.ended <- code }

// What a slow reader leaves untaken stays with the sender, and arrives whole
// and in order; what is queued meanwhile falls between frames.
func TestSendToSlowReader(t *testing.T) {
	var frames []byte
	var want [][]byte
	for i := range 3000 {
		payload := bytes.Repeat([]byte{byte(i)}, i*7%66_000)
		want = append(want, payload)
		frames = append(AppendHeader(frames, ws.OpBinary, len(payload)), payload...)
	}
	s := &stream{frames: frames, ended: make(chan uint16, 1)}
	_, addr := start(t, Config{}, func() Handler { return s })
	p := handshake(t, addr)
	time.Sleep(20 * time.Millisecond) // let it block
	replies := 0
	for i := 0; i < len(want); {
		f := p.read()
		if f.Header.OpCode == ws.OpText && string(f.Payload) == "reply" {
			replies++
			continue
		}
		if f.Header.OpCode != ws.OpBinary || !bytes.Equal(f.Payload, want[i]) {
			t.Fatalf("frame %d: %v of %d bytes, want %d bytes", i, f.Header.OpCode, len(f.Payload), len(want[i]))
		}
		i++
	}
	if replies == 0 {
		t.Error("the reader was never too slow: nothing was tested")
	}
	_ = p.Close()
	<-s.ended
}

func TestUnreadRepliesAreBounded(t *testing.T) {
	_, addr, ended := startEcho(t, Config{MaxQueue: 100_000, CloseTimeout: time.Second})
	p := handshake(t, addr)
	message := text(strings.Repeat("x", 60_000))
	for range 1000 { // 60 MB that nobody reads back
		if _, err := p.Write(message); err != nil {
			break
		}
	}
	if code := <-ended; code != 1008 {
		t.Errorf("ended with %d, want 1008", code)
	}
}

// dialled is the client side of an echo.
type dialled struct {
	discard
	got   chan string
	ended chan uint16
}

func (d *dialled) Opened(c *Conn) { c.Reply(false, []byte("from the client")) }
func (d *dialled) Message(_ *Conn, _ bool, p []byte) {
	d.got <- string(p)
}
func (d *dialled) Closed(_ *Conn, code uint16) { d.ended <- code }

func TestDial(t *testing.T) {
	_, addr, _ := startEcho(t, Config{})
	client := newEngine(t, Config{})
	client.Start()
	defer client.Stop()
	d := &dialled{got: make(chan string, 1), ended: make(chan uint16, 2)}
	l := client.Loops()[0]
	l.Post(func() {
		if _, err := l.Dial(&Dial{Addr: addrPort(t, addr), URI: "/ws"}, d); err != nil {
			t.Error(err)
		}
		if _, err := l.Dial(&Dial{Addr: addrPort(t, "127.0.0.1:1"), URI: "/ws"}, d); err == nil {
			return // refused later, which Closed tells
		}
		d.ended <- codeAbnormal
	})
	if got := <-d.got; got != "from the client" {
		t.Errorf("echo gave %q", got)
	}
	if code := <-d.ended; code != codeAbnormal {
		t.Errorf("a refused connection ended with %d, want 1006", code)
	}
}

func TestAcceptedSocketsHaveNoDelay(t *testing.T) {
	e, addr, _ := startEcho(t, Config{})
	handshake(t, addr)
	result := make(chan int, 1)
	l := e.Loops()[0]
	l.Post(func() {
		l.Each(func(c *Conn) {
			v, _ := unix.GetsockoptInt(c.loop.poll.fd(c), unix.IPPROTO_TCP, unix.TCP_NODELAY)
			result <- v
		})
	})
	if v := <-result; v == 0 {
		t.Error("TCP_NODELAY is off: it was not inherited from the listener")
	}
}

// Budget: an idle connection is its Conn and its slot. The clients are bare
// descriptors, which cost no heap.
func TestIdleConnectionBudget(t *testing.T) {
	if size := unsafe.Sizeof(Conn{}); size > 64 {
		t.Errorf("Conn is %d bytes, want at most 64", size)
	}
	h := discard{}
	e, addr := start(t, Config{}, func() Handler { return h })
	const n = 2000
	fds := make([]int, 0, n+1)
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	target := sockaddr(addrPort(t, addr))
	fds = append(fds, bareHandshake(t, target)) // pools are filled
	goroutines := runtime.NumGoroutine()
	before := heapInUse()
	for range n {
		fds = append(fds, bareHandshake(t, target))
	}
	perConn := float64(heapInUse()-before) / n
	t.Logf("%.0f bytes of heap for an idle connection", perConn)
	budget := 110.0
	if onNbio() {
		budget += 320 // nbio.Conn with two net.TCPAddr, and its place in our table
	}
	if perConn > budget {
		t.Errorf("an idle connection costs %.0f bytes of heap, want at most %.0f", perConn, budget)
	}
	if g := runtime.NumGoroutine(); g > goroutines {
		t.Errorf("%d goroutines, %d before the connections", g, goroutines)
	}
	if e.Conns() != n+1 {
		t.Errorf("%d connections are open", e.Conns())
	}
}

var bareRequest = []byte("GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")

func bareHandshake(t *testing.T, target unix.Sockaddr) int {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var answer [512]byte
	if err := unix.Connect(fd, target); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(fd, bareRequest); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.Read(fd, answer[:]); err != nil || !bytes.HasPrefix(answer[:n], []byte("HTTP/1.1 101")) {
		t.Fatalf("handshake answered %q, %v", answer[:n], err)
	}
	return fd
}

func BenchmarkEcho(b *testing.B) {
	_, addr, _ := startEcho(b, Config{})
	p := handshake(b, addr)
	message := text(strings.Repeat("x", 128))
	b.ReportAllocs()
	for b.Loop() {
		p.send(message)
		p.read()
	}
}
