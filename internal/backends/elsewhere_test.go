package backends

import (
	"fmt"
	"os/exec"
	"testing"
)

// A port is held once where there are no abstract sockets.
func TestLockPort(t *testing.T) {
	const port = 1 // none that Port takes
	file, err := lockPort(port)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := lockPort(port); err == nil {
		_ = again.Close()
		t.Error("taken twice")
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	file, err = lockPort(port)
	if err != nil {
		t.Fatalf("not free after it was given back: %v", err)
	}
	_ = file.Close()
}

// A child's state is known with the files of Linux below /proc, and without.
func TestStateOf(t *testing.T) {
	ways := []string{"/proc", t.TempDir()}
	if _, err := exec.LookPath("ps"); err != nil {
		ways = ways[:1] // a Linux without it, which does not need it
	}
	for _, proc := range ways {
		cmd := exec.Command("cat")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		pid := cmd.Process.Pid
		if state, err := stateOf(proc, pid); err != nil || state == 'Z' {
			t.Errorf("%s: state %q of a child that runs, %v", proc, state, err)
		}
		_ = in.Close()
		waitFor(t, proc+": the child has ended and was not waited for", func() error {
			state, err := stateOf(proc, pid)
			if err == nil && state != 'Z' {
				err = fmt.Errorf("state %q", state)
			}
			return err
		})
		_ = cmd.Wait() // that it can be waited for is the point
		if state, err := stateOf(proc, pid); err == nil {
			t.Errorf("%s: state %q of a child that is gone", proc, state)
		}
	}
}
