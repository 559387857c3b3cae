package main

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/null"
)

// Whoever reads the output has gone, as in `loadgen … 2>&1 | tee log` after
// Ctrl-C, or when the terminal is closed: the run is still ended in order and its
// report written.
func TestRunWithoutAReader(t *testing.T) {
	hups := make(chan os.Signal, 1) // what is ignored here would be so in the child
	signal.Notify(hups, syscall.SIGHUP)
	defer signal.Stop(hups)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) { endedWithoutAReader(t, sig) })
	}
}

func endedWithoutAReader(t *testing.T, sig syscall.Signal) {
	s, err := null.Start("127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(t.TempDir(), "report.json")
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], "run", "--url", "ws://"+s.Addr().String()+"/connection/websocket",
		"--connections", "10", "--rooms", "1", "--duration", "10m", "--json", report)
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	if _, err := r.Read(make([]byte, 1)); err != nil { // it has begun
		t.Fatal(err)
	}
	_ = r.Close()
	if err := cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait() // the state says it
	if !cmd.ProcessState.Exited() {
		t.Fatalf("it ended by %v", cmd.ProcessState)
	}
	if _, err := os.Stat(report); err != nil {
		t.Errorf("exit code %d, and no report: %v", cmd.ProcessState.ExitCode(), err)
	}
}
