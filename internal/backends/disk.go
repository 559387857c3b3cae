package backends

import (
	"os"
	"path/filepath"
	"testing"
)

// Disk is a file system of its own, of so many bytes, that can be filled.
type Disk struct {
	Dir string
	t   testing.TB
}

// NewDisk makes one in memory. It takes Linux, and root; the test is left out
// otherwise. What is in Dir has to be closed before the test's clean-up comes here.
func NewDisk(t testing.TB, bytes int) *Disk {
	t.Helper()
	dir := t.TempDir()
	if err := mountMemory(dir, bytes); err != nil {
		leaveOut(t, "a file system of the test's own cannot be mounted ("+err.Error()+")")
	}
	t.Cleanup(func() {
		if err := unmount(dir); err != nil {
			t.Error(err)
		}
	})
	return &Disk{dir, t}
}

// Fill takes all space that is left, up to so many bytes.
func (d *Disk) Fill(left int) {
	d.t.Helper()
	free, err := freeBytes(d.Dir)
	if err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(d.ballast(), make([]byte, max(free-left, 0)), 0o600); err != nil {
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
