package sink

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ErrLocked is returned when the data directory belongs to another process.
var ErrLocked = errors.New("data directory is in use")

// dirLock keeps a second process out of a data directory. SQLite would let
// both in, and each would mint offsets and an order of its own. The kernel
// drops the lock with the process, however it ends; the file stays, since
// removing it would race with whoever has just opened it.
type dirLock struct{ file *os.File }

// lockDir takes the lock of dir without waiting. The error is ErrLocked, with
// the holder's process id, when somebody has it.
func lockDir(dir string) (*dirLock, error) {
	path := filepath.Join(dir, "hubbub.lock")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock file: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer file.Close() // only read from
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s is held by %s", ErrLocked, dir, holder(file))
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	// The process id is there for people; nothing depends on it.
	if err := writePID(file); err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", path, err), file.Close())
	}
	return &dirLock{file: file}, nil
}

func writePID(file *os.File) error {
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err := file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// holder names the process that holds the lock, as far as it is known.
func holder(file *os.File) string {
	b, err := io.ReadAll(io.LimitReader(file, 32))
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return "process " + pid
	}
	return "another process"
}

// release gives the directory free.
func (l *dirLock) release() error {
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("release the data directory: %w", err)
	}
	return nil
}
