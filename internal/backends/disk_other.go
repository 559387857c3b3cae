//go:build !linux

package backends

import "errors"

// Every system has a way of its own to mount memory, and to ask what is left.
// The tests of a full disk run on Linux.
func mountMemory(string, int) error { return errors.ErrUnsupported }

func unmount(string) error { return errors.ErrUnsupported }

func freeBytes(string) (int, error) { return 0, errors.ErrUnsupported }
