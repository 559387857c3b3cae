package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/report"
)

// proc is where Linux tells what its processes use. Of other systems the portable
// calls tell the CPU of this process and nothing else: a report says of the rest
// that it is not known. (Rejected: ps, which is rounded to seconds, or to
// hundredths, and knows no RssAnon, the figure that a connection is measured by.)
var proc = os.DirFS("/proc")

// clockTick is the unit of times in /proc. Linux fixed it at 1/100 s for
// user space.
const clockTick = 10 * time.Millisecond

// processUsage is what a process has used. The error is that it is not there.
func processUsage(pid int) (report.Usage, error) { return usageIn(proc, pid) }

// usageIn reads what proc tells of a process, which may be nothing.
func usageIn(proc fs.FS, pid int) (u report.Usage, err error) {
	if _, err := fs.Stat(proc, "self/stat"); err != nil {
		return unknownUsage(pid)
	}
	dir := strconv.Itoa(pid)
	stat, err := fs.ReadFile(proc, dir+"/stat")
	if err != nil {
		return u, fmt.Errorf("process %d: %w", pid, err)
	}
	// The name in parentheses may hold anything; fields count from behind it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return u, fmt.Errorf("process %d: its stat has %d fields", pid, len(fields))
	}
	for _, f := range fields[11:13] { // utime, stime
		ticks, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return u, fmt.Errorf("process %d: its stat: %w", pid, err)
		}
		u.CPU += report.Figure(float64(ticks) * clockTick.Seconds())
	}
	status, err := fs.ReadFile(proc, dir+"/status")
	if err != nil {
		return u, fmt.Errorf("process %d: %w", pid, err)
	}
	if u.RSS = bytesOf(status, "VmRSS:"); u.RSS.Known() {
		u.RSSAnon = bytesOf(status, "RssAnon:") // kernels before 4.5, and some that only look like Linux, have none
	} else {
		u.RSS = 0 // it has ended, and was not waited for
	}
	return u, nil
}

// unknownUsage is what is known of a process where nothing tells it. That it is
// there is known everywhere.
func unknownUsage(pid int) (report.Usage, error) {
	if err := syscall.Kill(pid, 0); err != nil && err != syscall.EPERM { //nolint:errorlint // an errno
		return report.Usage{}, fmt.Errorf("process %d: %w", pid, err)
	}
	return report.Usage{CPU: report.Unknown(), RSS: report.Unknown(), RSSAnon: report.Unknown()}, nil
}

// bytesOf reads a line of a file in /proc that has kB.
func bytesOf(text []byte, name string) report.Figure {
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte(name)); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(string(rest)), " kB"), 10, 64)
			if err == nil {
				return report.Figure(kib << 10)
			}
		}
	}
	return report.Unknown()
}

// kernelSlab is what the kernel's slabs take on this machine, bytes.
func kernelSlab() report.Figure { return slabIn(proc) }

func slabIn(proc fs.FS) report.Figure {
	b, err := fs.ReadFile(proc, "meminfo")
	if err != nil {
		return report.Unknown()
	}
	return bytesOf(b, "Slab:")
}

// ownUsage is processUsage of this process, with the CPU to the microsecond.
func ownUsage() report.Usage { return ownIn(proc) }

func ownIn(proc fs.FS) report.Usage {
	u, err := usageIn(proc, os.Getpid())
	if err != nil { // it is there: what cannot be read is not known
		u = report.Usage{CPU: report.Unknown(), RSS: report.Unknown(), RSSAnon: report.Unknown()}
	}
	var ru syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &ru) == nil {
		u.CPU = report.Figure(time.Duration(ru.Utime.Nano() + ru.Stime.Nano()).Seconds())
	}
	return u
}
