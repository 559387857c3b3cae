package main

import (
	"os"
	"strings"
	"testing"
)

// TestSelftest: a little of each test is done, and right. Its figures are not
// asserted.
func TestSelftest(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	code := execute(environment{ctx: t.Context(), stdout: &out, stderr: os.Stderr}, []string{"selftest", "--scale", "0.01"})
	if text := out.String(); strings.Contains(text, "FAILED") || strings.Count(text, "\n") != 5 || code > exitFaults {
		t.Fatalf("exit code %d\n%s", code, text)
	}
}
