//go:build race

package auth

// raceEnabled: the race detector allocates where the program does not, and
// takes its time; budgets hold without it only.
const raceEnabled = true
