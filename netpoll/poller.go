package netpoll

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
)

// poller is what a Loop stands on: it tells the loop which sockets can be read and
// written, moves the bytes, and runs the loop's turns on its goroutine. There are two,
// for the engines of Engines; which one is decided once for each Loop, in newLoop.
//
// All methods but wake are for that goroutine, or for New and Start before it runs.
type poller interface {
	// run serves the loop until it has stopped and shut down, and returns when what it
	// began is gone. With every event it calls Loop.begin first, and Loop.turn once
	// behind those that came together.
	run()
	// wake makes it take a turn, soon. Any goroutine may call it.
	wake()
	// close closes what New has opened, of a loop that never runs.
	close()

	// add makes s the connection's socket and begins to tell what happens to it. Unless
	// keep is called, or is true here, it may yet be detached, and is not written to. On
	// an error the socket is closed.
	add(c *Conn, s socket, keep bool) error
	keep(*Conn) error
	// dial begins to connect; Conn.dialled follows. An error says that there is nothing
	// to try with, and closes what was opened.
	dial(c *Conn, d *Dial) error
	// arm tells of what can be read, or not, and, where out says so, of room to write.
	arm(c *Conn, in, out bool)
	// fd is the connection's descriptor, for options and addresses; -1 when it is gone.
	fd(c *Conn) int
	// read is read(2), with EAGAIN and EINTR.
	read(c *Conn, b []byte) (int, syscall.Errno)
	// write is write(2), of at least a byte.
	write(c *Conn, b []byte) (int, syscall.Errno)
	// holds says whether the socket has yet to take some of what write took.
	// Conn.writable follows when it has; before, a connection is not to end in peace.
	holds(c *Conn) bool
	// outlivesEOF says whether a connection can still be written to when its peer has
	// ended the other direction.
	outlivesEOF() bool
	// detach makes a net.Conn of the socket, which is the connection's no longer.
	detach(c *Conn) (net.Conn, error)
	// closeConn closes the socket, if it is still there.
	closeConn(c *Conn)
}

// socket is one that no poller has yet. An engine has them in one of the two forms.
type socket struct {
	fd   int          // for epoll
	conn *net.TCPConn // for nbio
}

// acceptor takes new sockets and gives them to listener.deal, on whatever goroutine.
// close may be called more than once; the others are for the first loop.
type acceptor interface {
	start()
	tick()        // some 20 times a second
	ticks() bool  // it needs them
	close() error // new sockets are not taken any more
}

// engine is how the loops of an Engine are made.
type engine struct {
	newPoller   func(*Loop) (poller, error)
	newAcceptor func(*listener, *net.TCPListener) (acceptor, error)
	receive     func(*Loop, socket)                // an accepted one, on any goroutine; nil: Loop.adopt
	take        func(*net.TCPConn) (socket, error) // a socket that net opened; on an error it is closed
	refuse      func(socket, []byte)               // writes as far as there is room, and closes
}

// Engines are the names of those that this system has, the best first: that is the
// default.
func Engines() []string {
	names := make([]string, len(engines))
	for i, e := range engines {
		names[i] = e.name
	}
	return names
}

// CheckEngine returns an error for a name that is not one of Engines; the empty one
// stands for the default.
func CheckEngine(name string) error {
	_, err := engineNamed(name)
	return err
}

// Engine is the name of what the loops stand on.
func (e *Engine) Engine() string { return e.name }

type namedEngine struct {
	name string
	engine
}

func engineNamed(name string) (namedEngine, error) {
	if name == "" {
		return engines[0], nil
	}
	i := slices.IndexFunc(engines, func(e namedEngine) bool { return e.name == name })
	if i < 0 {
		return namedEngine{}, fmt.Errorf("no event engine %q on this system: there is %s", name, strings.Join(Engines(), " and "))
	}
	return engines[i], nil
}
