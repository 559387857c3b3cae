package writer

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// childEnv makes this binary a writer that can be killed; see child_test.go.
const childEnv = "HUBBUB_WRITER_TEST_CHILD"

func TestMain(m *testing.M) {
	if what := os.Getenv(childEnv); what != "" {
		runChild(what)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
