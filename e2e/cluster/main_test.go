package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/hubbub-chat/hubbub/internal/leaks"
)

// The programs under test: the server and the load generator, see the package
// comment.
var binary, loadgen string

// root is the top of the source tree, as tests see it.
var root = filepath.Join("..", "..")

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	if binary = os.Getenv("HUBBUB_BIN"); binary != "" {
		loadgen = filepath.Join(filepath.Dir(binary), "loadgen")
	} else {
		dir, err := os.MkdirTemp("", "hubbub-cluster-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		binary, loadgen = build(dir, "server"), build(dir, "loadgen")
	}
	code := m.Run()
	if code == 0 {
		if err := leaks.Find(); err != nil {
			os.Stderr.WriteString(err.Error())
			return 1
		}
	}
	return code
}

func build(dir, name string) (path string) {
	path = filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-o", path, "./"+name)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		panic(string(out))
	}
	return path
}
