package main

import (
	"syscall"
	"time"
)

// sleep returns when so much time has passed, or earlier. It is nanosleep(2):
// the runtime's timers end on whole milliseconds, as epoll_wait has them.
func sleep(d time.Duration) {
	ts := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&ts, nil) // EINTR: the caller looks again
}
