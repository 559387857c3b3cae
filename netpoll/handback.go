package netpoll

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/netip"

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
	defer conn.Close() //nolint:errcheck // the loop has its own descriptor
	tcp, ok := conn.(*readConn)
	if !ok {
		return // not a connection of ours: it is closed
	}
	fd, err := duplicate(tcp.Conn)
	if err != nil {
		return // out of descriptors: the client sees a closed connection
	}
	ahead, _ := rw.Reader.Peek(rw.Reader.Buffered()) // what is buffered can be peeked at
	e.conns.Add(1)
	e.heads.Add(1)
	e.pick().adopt(adopted{int32(fd), &handedBack{line, requestHead(r), bytes.Clone(ahead), tcp.client}})
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

// duplicate returns a descriptor of its own for a connection's socket.
func duplicate(conn net.Conn) (int, error) {
	sc, ok := conn.(*net.TCPConn)
	if !ok {
		return -1, errNotTCP
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	if cerr := rc.Control(func(s uintptr) { fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		return -1, cerr
	}
	return fd, err
}
