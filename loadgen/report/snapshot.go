package report

import "time"

// Snapshot is a fleet's counts at one time.
type Snapshot struct {
	Counts
	At      int64  // clock ns
	BytesIn uint64 // read from connections
	Recent  Quantiles

	// Only once a second.
	Own, Server Usage // of this tool, and of the server
}

// Usage is what a process has used: CPU since it began, memory now.
type Usage struct {
	CPU     time.Duration
	RSS     int64 // resident bytes
	RSSAnon int64 // of these, anonymous: heap and stacks, not the program's file
}
