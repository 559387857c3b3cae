package backends

import (
	"fmt"
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

var ports struct {
	mu    sync.Mutex
	taken map[int]bool // by this test binary
}

// Port returns a TCP port of 127.0.0.1 that nobody listens on, and that no
// other call here returns.
func Port(t testing.TB) int {
	t.Helper()
	ports.mu.Lock()
	defer ports.mu.Unlock()
	if ports.taken == nil {
		ports.taken = make(map[int]bool)
	}
	for range 1000 {
		port := minPort + rand.IntN(maxPort-minPort)
		if ports.taken[port] {
			continue
		}
		ln, err := net.Listen("tcp", loopback(port))
		if err != nil {
			continue
		}
		_ = ln.Close()
		ports.taken[port] = true
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
