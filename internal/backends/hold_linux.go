package backends

import (
	"fmt"
	"io"
	"net"
)

// holdPort takes a port's name, for all test binaries on this machine, until the
// process ends: a Unix socket's abstract one, which leaves no file behind.
func holdPort(port int) (io.Closer, error) {
	return net.Listen("unix", fmt.Sprintf("@hubbub-test-port-%d", port))
}
