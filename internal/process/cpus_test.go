package process

import (
	"testing"
	"testing/fstest"
)

// A container with a CPU quota has as many CPUs as that allows, and not those
// of its host.
func TestQuota(t *testing.T) {
	const (
		v2 = "35 24 0:30 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
		v1 = "24 20 0:21 / /proc rw - proc proc rw\n36 30 0:31 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n" +
			"37 30 0:32 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
	)
	const g = "sys/fs/cgroup/"
	for _, test := range []struct {
		name, mounts, groups string
		files                map[string]string
		want                 int
	}{
		{"no control groups", "", "", nil, 8},
		{"none", v2, "0::/\n", map[string]string{g + "cpu.max": "max 100000\n"}, 8},
		{"half a CPU", v2, "0::/\n", map[string]string{g + "cpu.max": "50000 100000\n"}, 1},
		{"one", v2, "0::/\n", map[string]string{g + "cpu.max": "100000 100000\n"}, 1},
		{"one and a half", v2, "0::/\n", map[string]string{g + "cpu.max": "150000 100000\n"}, 2},
		{"more than the host has", v2, "0::/\n", map[string]string{g + "cpu.max": "9900000 100000\n"}, 8},
		{"of a group", v2, "0::/a/b\n", map[string]string{g + "a/b/cpu.max": "300000 100000\n"}, 3},
		{"of a parent", v2, "0::/a/b\n", map[string]string{g + "a/b/cpu.max": "max 100000\n", g + "a/cpu.max": "200000 100000\n"}, 2},
		{"a group seen from outside", v2, "0::/../x\n", map[string]string{g + "cpu.max": "200000 100000\n"}, 2},
		{"version 1", v1, "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n", map[string]string{
			g + "cpu,cpuacct/cpu.cfs_quota_us": "250000\n", g + "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}, 3},
		{"version 1, none", v1, "4:cpu,cpuacct:/docker/abc\n0::/\n", map[string]string{
			g + "cpu,cpuacct/cpu.cfs_quota_us": "-1\n", g + "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}, 8},
		{"nonsense", v2, "0:\n0::/\n", map[string]string{g + "cpu.max": "many few"}, 8},
	} {
		root := fstest.MapFS{}
		for name, text := range test.files {
			root[name] = &fstest.MapFile{Data: []byte(text)}
		}
		if test.mounts != "" {
			root["proc/self/mountinfo"] = &fstest.MapFile{Data: []byte(test.mounts)}
			root["proc/self/cgroup"] = &fstest.MapFile{Data: []byte(test.groups)}
		}
		if got := within(8, "", root); got != test.want {
			t.Errorf("%s: %d CPUs, want %d", test.name, got, test.want)
		}
		if got := within(8, "8", root); got != 8 {
			t.Errorf("%s: %d CPUs, want those of GOMAXPROCS", test.name, got)
		}
	}
	if n := CPUs(); n < 1 {
		t.Errorf("%d CPUs here", n)
	}
}
