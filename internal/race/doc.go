// Package race says whether the race detector is built in, for tests: it makes a
// program five to twenty times slower, and the machine with it, so a test under it
// does less of the same.
package race

// Scale is how much of n a test does: all of it, or under the race detector a
// quarter, and one at least.
func Scale(n int) int {
	if Enabled {
		return max(1, n/Factor)
	}
	return n
}
