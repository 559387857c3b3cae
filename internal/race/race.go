//go:build race

package race

// Enabled says that the race detector is built in; Factor is by how much tests are
// smaller, or slower, for it.
const (
	Enabled = true
	Factor  = 4
)
