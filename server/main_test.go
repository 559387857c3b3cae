package main

import (
	"flag"
	"os"
	"testing"

	"github.com/hubbub-chat/hubbub/internal/leaks"
)

// childEnv makes this test binary the program itself, for tests that need a
// process: to kill it, or to see its exit code.
const childEnv = "HUBBUB_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	flag.Parse()
	if f := flag.Lookup("test.fuzz"); f != nil && f.Value.String() != "" {
		os.Exit(m.Run()) // the fuzzing engine has goroutines of its own
	}
	_ = flag.Set("test.parallel", "64") // what runs in parallel here only waits
	leaks.Main(m)
}
