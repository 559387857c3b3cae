package process

import (
	"bufio"
	"bytes"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// atStart is GOMAXPROCS as the runtime has found it, or as the environment
// says: once a program has set it, the runtime does not look again.
var atStart = runtime.GOMAXPROCS(0)

// CPUs is how many CPUs this process may use, at least 1: those of the machine
// that it may run on, within the CPU quota of its container, as they were when
// it started. A part of a CPU counts as one. GOMAXPROCS in the environment
// wins.
//
// The runtime knows the quota, but takes none for less than two CPUs, and does
// not see one that a parent group sets.
var CPUs = sync.OnceValue(func() int {
	return within(atStart, os.Getenv("GOMAXPROCS"), os.DirFS("/"))
})

// within is cpus, or the quota if that is less and the environment did not ask for them.
func within(cpus int, asked string, root fs.FS) int {
	if asked != "" {
		return cpus
	}
	if quota := cpuQuota(root); quota < float64(cpus) {
		return max(1, int(math.Ceil(quota)))
	}
	return cpus
}

// cpuQuota is the smallest quota of this process's control group and those
// above it, in CPUs; infinite where there is none. What cannot be read sets
// none.
func cpuQuota(root fs.FS) float64 {
	quota := math.Inf(1)
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return quota
	}
	mounts, err := fs.ReadFile(root, "proc/self/mountinfo")
	if err != nil {
		return quota
	}
	for line := range strings.Lines(string(groups)) { // hierarchy:controllers:path
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 || f[1] != "" && !slices.Contains(strings.Split(f[1], ","), "cpu") {
			continue
		}
		read := quotaV1
		if f[1] == "" {
			read = quotaV2
		}
		mount, group, ok := cpuMount(mounts, f[1] == "", f[2])
		for ; ok; group = path.Dir(group) {
			quota = min(quota, read(root, strings.TrimPrefix(path.Join(mount, group), "/")))
			if group == "/" {
				break
			}
		}
	}
	return quota
}

// cpuMount finds where a group of a hierarchy is: the mount, and the group's
// path below it.
func cpuMount(mounts []byte, v2 bool, group string) (mount, below string, ok bool) {
	lines := bufio.NewScanner(bytes.NewReader(mounts))
	for lines.Scan() { // id parent device root mount options [optional ...] - type source options
		before, after, found := strings.Cut(lines.Text(), " - ")
		f, a := strings.Fields(before), strings.Fields(after)
		if !found || len(f) < 5 || len(a) < 3 {
			continue
		}
		if v2 && a[0] != "cgroup2" || !v2 && (a[0] != "cgroup" || !slices.Contains(strings.Split(a[2], ","), "cpu")) {
			continue
		}
		if rest, inside := strings.CutPrefix(group, strings.TrimSuffix(f[3], "/")); inside {
			return f[4], path.Join("/", rest), true
		}
		return f[4], "/", true // a container's mount begins at its own group, whatever that is called outside
	}
	return "", "", false
}

// quotaV2 reads cpu.max: "max 100000", or "50000 100000".
func quotaV2(root fs.FS, dir string) float64 {
	text, err := fs.ReadFile(root, path.Join(dir, "cpu.max"))
	if err != nil {
		return math.Inf(1)
	}
	f := strings.Fields(string(text))
	if len(f) != 2 {
		return math.Inf(1)
	}
	return share(f[0], f[1])
}

// quotaV1 reads the two files of the first version; -1 stands for none.
func quotaV1(root fs.FS, dir string) float64 {
	quota, err := fs.ReadFile(root, path.Join(dir, "cpu.cfs_quota_us"))
	if err != nil {
		return math.Inf(1)
	}
	period, err := fs.ReadFile(root, path.Join(dir, "cpu.cfs_period_us"))
	if err != nil {
		return math.Inf(1)
	}
	return share(strings.TrimSpace(string(quota)), strings.TrimSpace(string(period)))
}

func share(quota, period string) float64 {
	q, err1 := strconv.ParseFloat(quota, 64)
	p, err2 := strconv.ParseFloat(period, 64)
	if err1 != nil || err2 != nil || q <= 0 || p <= 0 {
		return math.Inf(1)
	}
	return q / p
}
