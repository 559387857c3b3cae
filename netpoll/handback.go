package netpoll

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// handBack gives a connection of the HTTP server back to a loop, because a request on
// it, which is not the first, is for a WebSocket: proxies keep connections and use them
// for anything.
func (e *Engine) handBack(w http.ResponseWriter, r *http.Request, line requestLine) {
	if int(e.conns.Load()) >= e.cfg.MaxConns {
		http.Error(w, "server is full", http.StatusServiceUnavailable)
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	read, ok := conn.(*readConn)
	if !ok {
		_ = conn.Close() // not a connection of ours
		return
	}
	tcp, ok := read.release().(*net.TCPConn)
	if !ok {
		return // as above
	}
	ahead, _ := rw.Reader.Peek(rw.Reader.Buffered()) // what is buffered can be peeked at
	s, err := e.take(tcp)
	if err != nil {
		return // out of descriptors: the client sees a closed connection
	}
	e.conns.Add(1)
	e.heads.Add(1)
	e.pick().adopt(adopted{socket: s, back: &handedBack{line, requestHead(r), bytes.Clone(ahead), read.client}})
}

// handedBack is what a loop has to know of a connection that it gets from the HTTP
// server: a request that is for it, and what came behind.
type handedBack struct {
	line       requestLine
	head, rest []byte
	client     netip.AddrPort
}

// requestHead writes a request as it came, but for the order of its headers.
func requestHead(r *http.Request) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s %s\r\nHost: %s\r\n", r.Method, r.RequestURI, r.Proto, r.Host)
	for _, coding := range r.TransferEncoding { // which net/http takes out of the header
		fmt.Fprintf(&b, "Transfer-Encoding: %s\r\n", coding)
	}
	_ = r.Header.Write(&b) // a bytes.Buffer takes everything
	b.WriteString("\r\n")
	return b.Bytes()
}

// duplicate returns a descriptor of its own for a socket.
func duplicate(conn syscall.Conn) (int, error) {
	rc, err := conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	if cerr := rc.Control(func(s uintptr) { fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		return -1, cerr
	}
	return fd, err
}
