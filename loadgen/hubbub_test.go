package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// hubbubBinary is the real server: that of HUBBUB_BIN, or one built once for
// all tests of this package.
var hubbubBinary = sync.OnceValues(func() (string, error) {
	if file := os.Getenv("HUBBUB_BIN"); file != "" {
		return file, nil
	}
	dir, err := os.MkdirTemp("", "loadgen-test-")
	if err != nil {
		return "", err
	}
	builtIn = dir
	file := filepath.Join(dir, "hubbub")
	build := exec.Command("go", "build", "-o", file, "../server")
	build.Stderr = os.Stderr
	return file, build.Run()
})

// builtIn is removed by TestMain.
var builtIn string

// hubbub is the real server as a process of its own.
type hubbub struct {
	cmd *exec.Cmd
	url string
}

// startHubbub runs a server on a directory until the test ends.
func startHubbub(t testing.TB, addr, dir string, args ...string) *hubbub {
	t.Helper()
	file, err := hubbubBinary()
	if err != nil {
		t.Fatalf("the server could not be built: %v", err)
	}
	args = append([]string{"serve", "--addr", addr, "--data", dir, "--drain", "0s", "--sync", "normal", "--log-level", "error"}, args...)
	h := &hubbub{cmd: exec.CommandContext(context.WithoutCancel(t.Context()), file, args...)}
	h.cmd.Stderr = os.Stderr
	h.cmd.WaitDelay = time.Second
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	_, rest, ok := strings.Cut(line, "http://")
	if err != nil || !ok {
		t.Fatalf("the server said %q, %v", line, err)
	}
	h.url = "ws://" + strings.TrimRight(strings.TrimSpace(rest), "/") + "/connection/websocket"
	return h
}

// kill ends the process with SIGKILL, if it has not ended.
func (h *hubbub) kill() {
	if h.cmd.ProcessState == nil {
		_ = h.cmd.Process.Kill()
		_ = h.cmd.Wait() // fails, since it was killed
	}
}

// until waits until one of the server's metrics is as high as wanted.
func (h *hubbub) until(t testing.TB, metric string, want float64) {
	t.Helper()
	base, _, _ := strings.Cut(strings.TrimPrefix(h.url, "ws://"), "/")
	defer http.DefaultClient.CloseIdleConnections()
	got := 0.0
	for end := time.Now().Add(time.Minute); got < want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s is %g, want %g", metric, got, want)
		}
		resp, err := http.Get("http://" + base + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(body)) {
			if value, ok := strings.CutPrefix(line, metric+" "); ok {
				got, _ = strconv.ParseFloat(strings.TrimSpace(value), 64) // 0 if it is none
			}
		}
	}
}
