package main

import (
	"fmt"
	"net/netip"
	"syscall"
)

// spareFiles are the descriptors a process needs beside its connections:
// the three standard ones, two per event loop, /proc, the report.
const spareFiles = 48

// checkFiles tells whether this process may hold so many connections. (The Go
// runtime has already raised the soft limit to the hard one.)
func checkFiles(connections int) error {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("RLIMIT_NOFILE: %w", err)
	}
	if need := uint64(connections + spareFiles); need > lim.Max {
		return usageError(fmt.Sprintf("%d connections need %d open files and RLIMIT_NOFILE allows %d: "+
			"raise it (ulimit -Hn %d as root, or LimitNOFILE= in systemd), or use at most %d connections a process",
			connections, need, lim.Max, need, max(0, int(lim.Max)-spareFiles)))
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
func newSources(targets []endpoint, n int, run uint16) sources {
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
	return s
}

// of is the address that connection i leaves from; the zero Addr leaves it to
// the kernel.
func (s sources) of(i int) netip.Addr {
	if len(s) == 0 {
		return netip.Addr{}
	}
	return s[i/perSource%len(s)]
}
