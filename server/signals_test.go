package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/schema"
)

// ended waits for a process and returns its exit code, -1 when a signal has
// ended it.
func ended(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait() // the exit code says it
	return cmd.ProcessState.ExitCode()
}

// walGone checks that a store was closed in order.
func walGone(t *testing.T, dir string) {
	t.Helper()
	if left, err := filepath.Glob(filepath.Join(dir, "*-wal")); err != nil || len(left) > 0 {
		t.Errorf("left in the data directory: %v, %v", left, err)
	}
}

// addressIn finds the address in what a node prints when it serves.
func addressIn(t *testing.T, printed interface{ ReadString(byte) (string, error) }) string {
	t.Helper()
	for {
		line, err := printed.ReadString('\n')
		if _, rest, ok := strings.Cut(line, "http://"); ok {
			addr, _, _ := strings.Cut(strings.TrimSpace(rest), "/")
			return addr
		}
		if err != nil {
			t.Fatalf("the server said %q (%v)", line, err)
		}
	}
}

// The reader of stdout and stderr is gone before the program is told to end,
// as in `hubbub 2>&1 | tee log` after Ctrl-C: it drains all the same.
func TestStopWithoutAReader(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := childCommand(context.WithoutCancel(t.Context()), "serve", "--addr=127.0.0.1:0", "--data="+dir, "--drain=100ms")
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	_ = w.Close()
	l := newLedger()
	c := dialTo(t, l, addressIn(t, bufio.NewReader(r)), schema.JSON)
	c.connect()
	c.subscribe("room")
	c.publish("room", `{"text":"hi"}`)
	_ = r.Close()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.expectClose(3001)
	if code := ended(t, cmd); code != 0 {
		t.Errorf("exit code %d (%v)", code, cmd.ProcessState)
	}
	walGone(t, dir)
	l.checkDir(t, dir)
}

// The same of the writer, which ends with its terminal, too.
func TestSinkStopsWithoutAReader(t *testing.T) {
	catchHangUps(t)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) { sinkStops(t, sig) })
	}
}

func sinkStops(t *testing.T, sig syscall.Signal) {
	mysql, broker := backends.MySQL(t).DSN, backends.Kafka(t).Addr
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := childCommand(context.WithoutCancel(t.Context()), "sink", "--addr=127.0.0.1:0", "--kafka="+broker, "--mysql="+mysql,
		fmt.Sprintf("--kafka-topic=pipe.%x", time.Now().UnixNano()))
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	_ = w.Close()
	addressIn(t, bufio.NewReader(r))
	_ = r.Close()
	if err := cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	if code := ended(t, cmd); code != 0 {
		t.Errorf("exit code %d (%v)", code, cmd.ProcessState)
	}
}

// catchHangUps has SIGHUP end the children of a test. A signal that is ignored
// here, where nohup runs the tests, would be in a child, too; one that is caught
// is not.
func catchHangUps(t *testing.T) {
	hups := make(chan os.Signal, 1)
	signal.Notify(hups, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hups) })
}

// screen is what a terminal shows.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *screen) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), text)
}

// onTerminal starts a node that has a terminal, which close takes away. The
// command line goes in front of the node's.
func onTerminal(t *testing.T, dir string, before ...string) (cmd *exec.Cmd, shown *screen, addr string, hangUp func()) {
	t.Helper()
	master, slave := newTerminal(t)
	catchHangUps(t)
	cmd = childCommand(context.WithoutCancel(t.Context()), "serve", "--addr=127.0.0.1:0", "--data="+dir, "--drain=100ms")
	if len(before) > 0 {
		path, err := exec.LookPath(before[0])
		if err != nil {
			t.Fatal(err)
		}
		cmd.Path = path
		cmd.Args = append(append([]string{}, before...), cmd.Args...)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	_ = slave.Close()
	shown = &screen{}
	read := make(chan struct{})
	go func() { // ends with the terminal
		defer close(read)
		for b := make([]byte, 4096); ; {
			n, err := master.Read(b)
			_, _ = shown.Write(b[:n])
			if err != nil {
				return
			}
		}
	}()
	hangUp = sync.OnceFunc(func() { _ = master.Close(); <-read })
	t.Cleanup(hangUp)
	eventually(t, "the node serves", func() bool { return shown.has("Hubbub is at http://") && shown.has("/\r\n") })
	shown.mu.Lock()
	text := shown.text.String()
	shown.mu.Unlock()
	_, text, _ = strings.Cut(text, "Hubbub is at http://")
	addr, _, _ = strings.Cut(text, "/")
	return cmd, shown, addr, hangUp
}

// A node whose terminal is closed ends, in order. A SIGHUP that somebody sends
// has it read its rules again, terminal or not.
func TestTerminalClosed(t *testing.T) {
	dir := t.TempDir()
	cmd, shown, addr, hangUp := onTerminal(t, dir)
	c := dialTo(t, newLedger(), addr, schema.JSON)
	c.connect()
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the rules are read again", func() bool { return shown.has("the rules have been read again") })
	c.ok(&command{History: &historyRequest{Channel: "room"}}) // it lives
	hangUp()
	c.expectClose(3001)
	if code := ended(t, cmd); code != 0 {
		t.Errorf("exit code %d (%v)", code, cmd.ProcessState)
	}
	walGone(t, dir)
}

// One that was started to stay (nohup) stays, and reads its rules again.
func TestTerminalClosedNohup(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(t.TempDir(), "log")
	cmd, _, addr, hangUp := onTerminal(t, dir, "sh", "-c", `trap "" HUP; exec "$0" "$@" 2>'`+log+`'`)
	hangUp()
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the rules are read again", func() bool {
		text, err := os.ReadFile(log)
		return err == nil && bytes.Contains(text, []byte("the rules have been read again"))
	})
	w := each(addr)
	defer w.close()
	if status := w.get(t, "/healthz"); status != http.StatusOK {
		t.Errorf("/healthz answers %d", status)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	if code := ended(t, cmd); code != 0 {
		t.Errorf("exit code %d (%v)", code, cmd.ProcessState)
	}
	walGone(t, dir)
}
