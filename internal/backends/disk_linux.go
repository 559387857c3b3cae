package backends

import (
	"strconv"
	"syscall"
)

// mountMemory mounts a file system of so many bytes.
func mountMemory(dir string, bytes int) error {
	return syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+strconv.Itoa(bytes))
}

func unmount(dir string) error { return syscall.Unmount(dir, syscall.MNT_DETACH) }

// freeBytes is what a file system has left.
func freeBytes(dir string) (int, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0, err
	}
	return int(fs.Bavail) * int(fs.Bsize), nil
}
