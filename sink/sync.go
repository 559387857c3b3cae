package sink

import "fmt"

// Sync says which failures a committed message survives. Both survive the end
// of the process in any way, kill -9 included.
type Sync uint8

const (
	// SyncFull flushes the disk's cache in every commit: a committed message
	// survives power loss and a crash of the kernel, as far as the disk tells
	// the truth. A commit then costs what the disk's flush costs.
	SyncFull Sync = iota

	// SyncNormal leaves a commit in the kernel's cache and flushes at
	// checkpoints. A committed message survives kill -9 of the process, but
	// the last instants before a power loss or a crash of the kernel may be
	// gone. The database itself stays consistent, without a gap in the middle.
	SyncNormal
)

func (s Sync) String() string {
	switch s {
	case SyncFull:
		return "full"
	case SyncNormal:
		return "normal"
	}
	return fmt.Sprintf("Sync(%d)", uint8(s))
}

// UnmarshalText reads "full" or "normal", for flags and the environment.
func (s *Sync) UnmarshalText(text []byte) error {
	switch string(text) {
	case "full":
		*s = SyncFull
	case "normal":
		*s = SyncNormal
	default:
		return fmt.Errorf("sync is %q, must be full or normal", text)
	}
	return nil
}
