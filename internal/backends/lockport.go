package backends

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockPort takes a port's name, for all test binaries of this user, until the
// process ends: the lock of a file, which stays.
func lockPort(port int) (*os.File, error) {
	name := fmt.Sprintf("hubbub-test-port-%d-%d", os.Getuid(), port)
	file, err := os.OpenFile(filepath.Join(os.TempDir(), name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}
