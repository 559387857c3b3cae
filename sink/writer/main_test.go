package writer

import (
	"os"
	"testing"

	"github.com/hubbub-chat/hubbub/internal/leaks"
)

// childEnv makes this binary a writer that can be killed; see child_test.go.
const childEnv = "HUBBUB_WRITER_TEST_CHILD"

func TestMain(m *testing.M) {
	if what := os.Getenv(childEnv); what != "" {
		runChild(what)
		os.Exit(0)
	}
	leaks.Main(m)
}
