package sessions

import (
	"testing"
	"unsafe"
)

// What there is one of for every client.
func TestSizes(t *testing.T) {
	for _, c := range []struct {
		name      string
		size, max uintptr
	}{
		{"session", unsafe.Sizeof(session{}), 48},
		{"subscription", unsafe.Sizeof(subscription{}), 48},
	} {
		if c.size > c.max {
			t.Errorf("a %s is %d bytes, want at most %d", c.name, c.size, c.max)
		}
	}
}
