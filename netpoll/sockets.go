package netpoll

import (
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketPair is a pair of stream sockets that do not block.
func socketPair() (ends [2]int, err error) {
	syscall.ForkLock.RLock()
	ends, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(ends[0])
		unix.CloseOnExec(ends[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return ends, os.NewSyscallError("socketpair", err)
	}
	return ends, os.NewSyscallError("fcntl", errors.Join(unix.SetNonblock(ends[0], true), unix.SetNonblock(ends[1], true)))
}

func descriptor(conn syscall.Conn) int {
	fd := -1
	if rc, err := conn.SyscallConn(); err == nil {
		_ = rc.Control(func(s uintptr) { fd = int(s) })
	}
	return fd
}

// errno is the system's error in one of net's or nbio's.
func errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if e, ok := err.(syscall.Errno); ok { //nolint:errorlint // the usual case, at no cost
		return e
	}
	return wrappedErrno(err)
}

func wrappedErrno(err error) (e syscall.Errno) {
	switch {
	case errors.As(err, &e), errors.Is(err, io.EOF):
		return e
	}
	return unix.EPIPE // closed already
}
