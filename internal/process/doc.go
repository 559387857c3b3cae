// Package process is what the commands of this repository have in common as
// processes: how many CPUs they may use, when they are to end, and that they
// outlive whoever reads what they print.
//
// Nouns: Terminal, the one a process was started from. Goroutines: one of
// EndContext, ended by its context.
package process
