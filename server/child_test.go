package main

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// child is the program as a process of its own: this binary, see childEnv.
type child struct {
	t      testing.TB
	cmd    *exec.Cmd
	addr   string
	stderr bytes.Buffer
}

func childCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), childEnv+"=1")
	return cmd
}

// startChild runs a node on a directory and returns when it serves.
func startChild(t testing.TB, dir string, args ...string) *child {
	t.Helper()
	p := &child{t: t}
	args = append([]string{"serve", "--addr=127.0.0.1:0", "--data=" + dir, "--drain=100ms"}, args...)
	p.cmd = childCommand(context.WithoutCancel(t.Context()), args...)
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	_, rest, ok := strings.Cut(line, "http://")
	if err != nil || !ok {
		p.kill()
		t.Fatalf("the server said %q (%v) and %s", line, err, p.stderr.Bytes())
	}
	p.addr = strings.TrimRight(strings.TrimSpace(rest), "/")
	return p
}

// kill ends the process with SIGKILL, if it has not ended.
func (p *child) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait() // fails, since it was killed
	}
}

// stop ends the process with SIGTERM, and returns its exit code.
func (p *child) stop() int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		p.t.Fatal(err)
	}
	timer := time.AfterFunc(time.Minute, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	_ = p.cmd.Wait() // the exit code says it
	return p.cmd.ProcessState.ExitCode()
}
