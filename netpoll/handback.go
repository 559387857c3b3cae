package netpoll

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"

	"golang.org/x/sys/unix"
)

// HandBack gives a connection of the HTTP server back to a loop, because its
// request turns out to be a WebSocket handshake: proxies keep connections and
// use them for anything. After an error the response is still to be written.
func (e *Engine) HandBack(w http.ResponseWriter, r *http.Request) error {
	if int(e.conns.Load()) >= e.cfg.MaxConns {
		return errors.New("server is full")
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the loop has its own descriptor
	tcp, ok := conn.(*readConn)
	if !ok {
		return nil // not a connection of ours: it is closed
	}
	head := requestHead(r)
	ahead, _ := rw.Reader.Peek(rw.Reader.Buffered()) // what is buffered can be peeked at
	head = append(head, ahead...)
	fd, err := duplicate(tcp.Conn)
	if err != nil {
		return nil //nolint:nilerr // out of descriptors: the client sees a closed connection
	}
	e.conns.Add(1)
	e.heads.Add(1)
	l := e.pick()
	l.Post(func() {
		if c := l.add(fd, stateHead, nil); c != nil {
			defer l.guard(c)
			c.request(head, head, tcp.client)
		}
	})
	return nil
}

// requestHead writes a request as it came, but for the order of its headers.
func requestHead(r *http.Request) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, r.RequestURI, r.Host)
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
