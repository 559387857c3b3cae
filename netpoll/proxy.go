package netpoll

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// The PROXY protocol, by which a TCP proxy says on whose behalf it connects:
// a line of text (version 1) or a binary header (version 2) in front of
// everything else. See haproxy.org/download/3.0/doc/proxy-protocol.txt.

const (
	proxyV1    = "PROXY "
	proxyV2    = "\r\n\r\n\x00\r\nQUIT\n"
	maxProxyV1 = 107     // bytes of the line, CRLF included
	maxProxyV2 = 2 << 10 // of the header: addresses, and what a proxy adds to them
)

var errProxyHeader = errors.New("malformed PROXY header")

// parseProxy reads the header that b begins with. It returns its length, 0
// while it is not complete, and the client's address, which is not valid when
// the header names none: the proxy then speaks for itself.
func parseProxy(b []byte) (client netip.AddrPort, n int, err error) {
	switch {
	case startsLike(b, proxyV2):
		return parseProxyV2(b)
	case startsLike(b, proxyV1):
		return parseProxyV1(b)
	}
	return netip.AddrPort{}, 0, errProxyHeader
}

// startsLike reports whether b begins with the signature, or may yet.
func startsLike(b []byte, signature string) bool {
	n := min(len(b), len(signature))
	return string(b[:n]) == signature[:n]
}

// parseProxyV1 reads "PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n", or
// TCP6, or UNKNOWN with anything behind it.
func parseProxyV1(b []byte) (client netip.AddrPort, n int, err error) {
	end := bytes.IndexByte(b[:min(len(b), maxProxyV1)], '\n')
	if end < 0 {
		if len(b) >= maxProxyV1 {
			err = errProxyHeader
		}
		return client, 0, err
	}
	line, found := strings.CutSuffix(string(b[:end]), "\r")
	fields := strings.Split(line, " ")
	if !found || len(fields) < 2 {
		return client, 0, errProxyHeader
	}
	if fields[1] == "UNKNOWN" {
		return client, end + 1, nil
	}
	if len(fields) != 6 || fields[1] != "TCP4" && fields[1] != "TCP6" {
		return client, 0, errProxyHeader
	}
	four := fields[1] == "TCP4"
	client, ok := proxyAddr(fields[2], fields[4], four)
	if _, dst := proxyAddr(fields[3], fields[5], four); !ok || !dst {
		return netip.AddrPort{}, 0, errProxyHeader
	}
	return client, end + 1, nil
}

func proxyAddr(addr, port string, four bool) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Is4() != four || a.Zone() != "" {
		return netip.AddrPort{}, false
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(p, 10) != port { // no sign, no zeros in front
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), true
}

// parseProxyV2 reads a signature of 12 bytes, version and command, family and
// transport, the length of the rest, and the rest: addresses, then whatever
// the proxy wants to add.
func parseProxyV2(b []byte) (client netip.AddrPort, n int, err error) {
	const fixed = len(proxyV2) + 4
	if len(b) <= len(proxyV2) {
		return client, 0, nil
	}
	version, command := b[12]>>4, b[12]&0xf
	if version != 2 || command > 1 {
		return client, 0, errProxyHeader
	}
	if len(b) < fixed {
		return client, 0, nil
	}
	family, size := b[13], int(binary.BigEndian.Uint16(b[14:]))
	if size > maxProxyV2-fixed {
		return client, 0, errProxyHeader
	}
	if len(b) < fixed+size {
		return client, 0, nil
	}
	rest := b[fixed : fixed+size]
	const local = 0 // a health check of the proxy's own; what it says of addresses is not meant
	if command == local {
		return client, fixed + size, nil
	}
	const tcp4, tcp6 = 0x11, 0x21
	switch {
	case family == tcp4 && size >= 12:
		addr := netip.AddrFrom4([4]byte(rest))
		client = netip.AddrPortFrom(addr, binary.BigEndian.Uint16(rest[8:]))
	case family == tcp6 && size >= 36:
		addr := netip.AddrFrom16([16]byte(rest)).Unmap()
		client = netip.AddrPortFrom(addr, binary.BigEndian.Uint16(rest[32:]))
	case family == tcp4, family == tcp6:
		return client, 0, errProxyHeader
	}
	return client, fixed + size, nil // of another family: nothing that a limit could count
}
