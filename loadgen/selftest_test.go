package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/hubbub-chat/hubbub/internal/race"
)

// TestSelftest: a little of each test is done, and right. Its figures are not
// asserted.
func TestSelftest(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	code := execute(environment{ctx: t.Context(), stdout: &out, stderr: os.Stderr}, []string{"selftest", "--scale", fmt.Sprint(0.01 / race.Factor)})
	if text := out.String(); strings.Contains(text, "FAILED") || strings.Count(text, "\n") != 5 || code > exitFaults {
		t.Fatalf("exit code %d\n%s", code, text)
	}
}
