package netpoll

import "golang.org/x/sys/unix"

// setLowat bounds what the kernel takes beyond what is on its way, bytes.
func setLowat(fd, bytes int) error {
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, bytes)
}
