package main

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"syscall"
)

// spareFiles are the descriptors a process needs beside its connections:
// the three standard ones, two per event loop, /proc, the report.
const spareFiles = 48

// openFiles is how many files this process may have open. (The Go runtime has
// already raised the soft limit to the hard one or, on macOS, to what the kernel
// allows below that.)
func openFiles() int {
	var lim syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim) != nil {
		return 1024 // what there is everywhere
	}
	return int(min(lim.Cur, math.MaxInt32))
}

// checkFiles tells whether this process may hold so many connections.
func checkFiles(connections int) error {
	most := openFiles()
	if need := connections + spareFiles; need > most {
		return usageError(fmt.Sprintf("%d connections need %d open files and RLIMIT_NOFILE allows %d: "+
			"raise it (ulimit -Hn %d as root, or LimitNOFILE= in systemd), or use at most %d connections a process",
			connections, need, most, need, max(0, most-spareFiles)))
	}
	return nil
}

// perSource is how many connections leave from one address. The kernel has
// 28,232 ports to give by default, but it looks for a free one in turn: beyond
// a few thousand, the search costs more than the rest of the connection
// (18,000 from one address: 250 µs of CPU each; from nine: 80 µs).
const perSource = 2_000

// sources are the local addresses that connections are made from, in blocks;
// none means that the kernel chooses.
type sources []netip.Addr

// newSources chooses addresses for n connections: where all endpoints are on
// loopback a few of 127/8, elsewhere the kernel's choice. Where they begin is
// the run's own (16 bits of its id), for the ports of an earlier run still wait.
// An address that is not this machine's, as all of 127/8 but the first on systems
// beside Linux, leaves it to the kernel too.
func newSources(targets []endpoint, n int, run uint16, local func(netip.Addr) bool) sources {
	for _, t := range targets {
		if ip := t.addr.Addr(); !ip.Is4() || !ip.IsLoopback() {
			return nil
		}
	}
	if n <= perSource {
		return nil
	}
	var s sources
	for a := netip.AddrFrom4([4]byte{127, byte(run >> 8), byte(run), 1}); len(s)*perSource < n; a = a.Next() {
		s = append(s, a)
	}
	if !local(s[0]) {
		return nil
	}
	return s
}

// isLocal reports whether connections can be made from an address.
func isLocal(a netip.Addr) bool {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
	if err != nil {
		return false
	}
	_ = c.Close() // only tried
	return true
}

// of is the address that connection i leaves from; the zero Addr leaves it to
// the kernel.
func (s sources) of(i int) netip.Addr {
	if len(s) == 0 {
		return netip.Addr{}
	}
	return s[i/perSource%len(s)]
}
