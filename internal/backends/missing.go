package backends

import (
	"os"
	"os/exec"
	"testing"
)

// Program returns the path of a program, or leaves the test out.
func Program(t testing.TB, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
		// Debian keeps servers where only root's PATH looks.
		if path, err := exec.LookPath("/usr/sbin/" + name); err == nil {
			return path
		}
	}
	leaveOut(t, names[0]+" is not installed")
	return ""
}

// leaveOut ends a test for which something is missing.
func leaveOut(t testing.TB, why string) {
	t.Helper()
	const how = "run scripts/install-services (as root on Debian), or see Prerequisites in README.md"
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s, and with CI=true no test can be left out: %s", why, how)
	}
	t.Skipf("LEFT OUT: %s: %s", why, how)
}
