package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/report"
)

// clockTick is the unit of times in /proc. Linux fixed it at 1/100 s for
// user space.
const clockTick = 10 * time.Millisecond

// processUsage reads /proc.
func processUsage(pid int) (u report.Usage, err error) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return u, err
	}
	// The name in parentheses may hold anything; fields count from behind it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return u, fmt.Errorf("%s/stat: %d fields", dir, len(fields))
	}
	for _, f := range fields[11:13] { // utime, stime
		ticks, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return u, fmt.Errorf("%s/stat: %w", dir, err)
		}
		u.CPU += time.Duration(ticks) * clockTick
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return u, err
	}
	u.RSS, u.RSSAnon = statusBytes(status, "VmRSS:"), statusBytes(status, "RssAnon:")
	return u, nil
}

// statusBytes reads a line of /proc/PID/status; 0 when it is not there, as
// for a process that has ended.
func statusBytes(status []byte, name string) int64 {
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte(name)); ok {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(string(rest)), " kB"), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// kernelSlab is what the kernel's slabs take on this machine, bytes; 0 when it
// is not told.
func kernelSlab() int64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	return statusBytes(b, "Slab:")
}

// ownUsage is processUsage of this process, with the CPU to the microsecond.
func ownUsage() report.Usage {
	u, _ := processUsage(os.Getpid()) // a missing /proc leaves zeros in the report
	var ru syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &ru) == nil {
		u.CPU = time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	}
	return u
}
