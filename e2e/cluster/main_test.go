package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// binary is the server under test, see the package comment.
var binary string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	binary = os.Getenv("HUBBUB_BIN")
	if binary == "" {
		dir, err := os.MkdirTemp("", "hubbub-cluster-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "hubbub")
		build := exec.Command("go", "build", "-o", binary, "./server")
		build.Dir = root
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			panic(string(out))
		}
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			os.Stderr.WriteString(err.Error())
			return 1
		}
	}
	return code
}

// root is the top of the source tree, as tests see it.
var root = filepath.Join("..", "..")
