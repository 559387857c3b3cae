package report

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
	CPU     Figure // seconds
	RSS     Figure // resident bytes
	RSSAnon Figure // of these, anonymous: heap and stacks, not the program's file
}
