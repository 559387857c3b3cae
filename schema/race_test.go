//go:build race

package schema

// raceEnabled: the race detector allocates where the program does not, so
// budgets of allocations and bytes hold without it only.
const raceEnabled = true
