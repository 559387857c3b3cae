//go:build !linux

package backends

import "io"

// holdPort takes a port's name. There are no abstract sockets here.
func holdPort(port int) (io.Closer, error) { return lockPort(port) }
