package backends

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// Ports are taken from below the range that the kernel takes outgoing
// connections' ports from (32768 and up): a server that is down for a moment
// must find its port free when it returns, whatever else a load test opens.
const (
	minPort = 20_000
	maxPort = 32_000
)

// ports are what this test binary has taken. Each is held (holdPort) until the
// process ends: between here and the server's own listening there is time, a
// second for Kafka, in which the test binary of another package could choose the
// same.
var ports struct {
	mu    sync.Mutex
	taken map[int]io.Closer
}

// Port returns a TCP port of 127.0.0.1 that nobody listens on, and that no
// other call here returns, in any test binary that runs.
func Port(t testing.TB) int {
	t.Helper()
	ports.mu.Lock()
	defer ports.mu.Unlock()
	if ports.taken == nil {
		ports.taken = make(map[int]io.Closer)
	}
	for range 1000 {
		port := minPort + rand.IntN(maxPort-minPort)
		held, err := holdPort(port)
		if err != nil {
			continue // somebody's
		}
		ln, err := net.Listen("tcp", loopback(port))
		if err != nil {
			_ = held.Close()
			continue
		}
		_ = ln.Close()
		ports.taken[port] = held
		return port
	}
	t.Fatalf("no free port between %d and %d", minPort, maxPort)
	return 0
}

// Addr is Port as HOST:PORT.
func Addr(t testing.TB) string {
	t.Helper()
	return loopback(Port(t))
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// portOf is the port of an address that loopback made.
func portOf(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		panic(fmt.Sprintf("backends: %q is no address", addr))
	}
	return port
}
