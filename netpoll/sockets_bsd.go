//go:build freebsd || netbsd || openbsd || dragonfly

package netpoll

// setLowat does nothing where there is no such option: a reader that stops then fills
// its socket's buffer, whose size the system sets.
func setLowat(_, _ int) error { return nil }
