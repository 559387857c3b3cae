package backends

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// Disk is a file system of its own, of so many bytes, that can be filled.
type Disk struct {
	Dir string
	t   testing.TB
}

// NewDisk makes one in memory. It takes root; the test is left out otherwise.
// What is in Dir has to be closed before the test's clean-up comes here.
func NewDisk(t testing.TB, bytes int) *Disk {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+strconv.Itoa(bytes)); err != nil {
		leaveOut(t, "a file system of the test's own cannot be mounted ("+err.Error()+")")
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return &Disk{dir, t}
}

// Fill takes all space that is left, up to so many bytes.
func (d *Disk) Fill(left int) {
	d.t.Helper()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(d.Dir, &fs); err != nil {
		d.t.Fatal(err)
	}
	free := int(fs.Bavail)*int(fs.Bsize) - left
	if err := os.WriteFile(d.ballast(), make([]byte, max(free, 0)), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// Free gives the space back that Fill has taken.
func (d *Disk) Free() {
	d.t.Helper()
	if err := os.Remove(d.ballast()); err != nil {
		d.t.Fatal(err)
	}
}

func (d *Disk) ballast() string { return filepath.Join(d.Dir, "ballast") }
