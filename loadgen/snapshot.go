package main

import "time"

// snapshot is a fleet's counts at one time.
type snapshot struct {
	counts
	at      int64  // clock ns
	bytesIn uint64 // read from connections
	recent  quantiles

	// Only once a second.
	own, server usage // of this tool, and of the server
}

// usage is what a process has used: CPU since it began, memory now.
type usage struct {
	CPU     time.Duration
	RSS     int64 // resident bytes
	RSSAnon int64 // of these, anonymous: heap and stacks, not the program's file
}
