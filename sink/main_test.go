package sink

import (
	"os"
	"os/exec"
	"testing"

	"github.com/hubbub-chat/hubbub/internal/leaks"
)

// The environment variables that make this binary a child of one of its tests.
const (
	killEnv  = "HUBBUB_SINK_TEST_KILL"  // TestKill9: write to the directory named
	panicEnv = "HUBBUB_SINK_TEST_PANIC" // TestDirectPanics: panic in the callback named
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(killEnv); dir != "" {
		runKill(dir)
	}
	if where := os.Getenv(panicEnv); where != "" {
		runPanic(where)
		os.Exit(0)
	}
	leaks.Main(m)
}

func childCommand(env, value string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env+"="+value)
	return cmd
}
