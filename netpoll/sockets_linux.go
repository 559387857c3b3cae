package netpoll

import "golang.org/x/sys/unix"

// engines are those that Linux has.
var engines = []namedEngine{{"epoll", epollEngine}, {"nbio", nbioEngine}}

// setLowat bounds what the kernel takes beyond what is on its way, bytes.
func setLowat(fd, bytes int) error {
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, bytes)
}

// bindLate lets connect choose the port of a bound socket, and not bind.
func bindLate(fd int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
}
