//go:build unix && !linux

package netpoll

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// engines are those that systems without epoll have.
var engines = []namedEngine{{"nbio", nbioEngine}}

// bindLate does nothing: the systems here choose a port of a 4-tuple that is free by
// themselves, or not at all.
func bindLate(int) {}

// peerNow is getpeername of an IPv4 or IPv6 socket.
func peerNow(fd int) netip.AddrPort {
	sa, err := unix.Getpeername(fd)
	if err != nil {
		return netip.AddrPort{}
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
