//go:build !linux

package main

import "time"

// sleep returns when so much time has passed. The runtime's timers do it to the
// nanosecond where they wait in kevent(2).
func sleep(d time.Duration) { time.Sleep(d) }
