package backends

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Process is a server: one command line, any number of runs of it, one after
// the other.
//
// Each run leads a process group of its own, with a guard beside it: a shell
// that reads from a pipe which only this process can write to. When this process
// is gone, however it went, the guard reads the end of the pipe, kills the group
// and removes the directory. A run begins when its guard is there (gateScript)
// and is killed before it, so it is never without one.
//
// Rejected: Pdeathsig, which follows the thread that started the child and not the
// process, and which the workers of nginx would not hear; a goroutine that waits
// for each child, which goleak would count.
type Process struct {
	t     testing.TB
	name  string
	dir   string // the run's working directory; holds data and log
	path  string
	args  []string
	env   []string
	ready func() error // nil when the server answers

	foreign bool // other tests, or people, use it too

	cmd   *exec.Cmd // nil: it does not run
	guard *exec.Cmd
	alive *os.File // the pipe's end that keeps the guard waiting
}

// patience is how long a server may take to start or to stop. A machine with
// two cores may be compiling beside it.
const patience = 2 * time.Minute

// gateScript becomes the server when it reads a line, and ends where nobody is left
// to write one.
const gateScript = `read -r _ <&3 || exit 1; exec 3<&-; exec "$@"`

const guardScript = `read -r _; kill -KILL -"$1"; rm -rf -- "$2"`

// newProcess makes the directory of a server.
func newProcess(t testing.TB, name, path string) *Process {
	t.Helper()
	// Not t.TempDir: its names are too long for a Unix socket.
	dir, err := os.MkdirTemp("", "hubbub-"+name+"-")
	if err != nil {
		t.Fatal(err)
	}
	return &Process{t: t, name: name, dir: dir, path: path}
}

// foreign is a server that is not the test's to stop.
func foreign(t testing.TB, name string) *Process { return &Process{t: t, name: name, foreign: true} }

// untilEnd starts the server, and ends it with the test.
func (p *Process) untilEnd() {
	p.t.Helper()
	p.t.Cleanup(func() {
		p.kill()
		if p.t.Failed() {
			p.t.Logf("%s said last:\n%s", p.name, p.lastWords())
		}
		_ = os.RemoveAll(p.dir)
	})
	p.Start()
}

// Start runs the server, and returns when it answers.
func (p *Process) Start() {
	p.t.Helper()
	p.mine()
	if p.cmd != nil {
		p.t.Fatalf("%s runs already", p.name)
	}
	if err := p.start(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *Process) start() error {
	out, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	gate, open, err := os.Pipe()
	if err != nil {
		return err
	}
	defer gate.Close()
	defer open.Close()
	cmd := exec.Command("/bin/sh", append([]string{"-c", gateScript, p.name, p.path}, p.args...)...)
	cmd.ExtraFiles = []*os.File{gate} // its descriptor 3
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	p.cmd = cmd
	if err := p.watch(); err != nil {
		p.kill()
		return fmt.Errorf("%s: no guard: %w", p.name, err)
	}
	if _, err := open.WriteString("\n"); err != nil {
		p.kill()
		return fmt.Errorf("%s: %w", p.name, err)
	}
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		err := p.ready()
		if err == nil {
			return nil
		}
		if p.ended() || time.Now().After(end) {
			p.kill()
			return fmt.Errorf("%s did not start: %w; it said:\n%s", p.name, err, p.lastWords())
		}
	}
}

// watch starts the guard of the run.
func (p *Process) watch() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	guard := exec.Command("/bin/sh", "-c", guardScript, "guard", strconv.Itoa(p.cmd.Process.Pid), p.dir)
	guard.Dir = "/"
	guard.Stdin = r
	guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is not for it
	if err := guard.Start(); err != nil {
		_ = w.Close()
		return err
	}
	p.guard, p.alive = guard, w
	return nil
}

// ended reports whether the server has ended by itself.
func (p *Process) ended() bool {
	state, err := stateOf("/proc", p.cmd.Process.Pid)
	return err != nil || state == 'Z'
}

// stateOf is a child's state in the letters of ps, Z when it has ended and was not
// waited for. Other systems than Linux have no such files below /proc; there ps
// says it.
func stateOf(proc string, pid int) (byte, error) {
	if _, err := os.Stat(filepath.Join(proc, "self/stat")); err != nil {
		out, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
		if out = bytes.TrimSpace(out); err != nil || len(out) == 0 {
			return 0, errors.Join(err, syscall.ESRCH)
		}
		return out[0], nil
	}
	stat, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	i := bytes.LastIndexByte(stat, ')') // the name before it may hold anything
	if i < 0 || i+2 >= len(stat) {
		return 0, syscall.ESRCH
	}
	return stat[i+2], nil
}

// Stop asks the server to end, and returns when it has.
func (p *Process) Stop() {
	p.t.Helper()
	p.Terminate()
	p.Wait()
}

// Terminate asks the server to end, and does not wait.
func (p *Process) Terminate() {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
}

// Wait returns when the server has ended by itself.
func (p *Process) Wait() {
	p.t.Helper()
	p.running()
	for end := time.Now().Add(patience); !p.ended(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("%s did not stop within %v", p.name, patience)
		}
	}
	p.kill()
}

// Restart stops the server and starts it again.
func (p *Process) Restart() {
	p.t.Helper()
	p.Stop()
	p.Start()
}

// Kill9 ends the server with SIGKILL.
func (p *Process) Kill9() {
	p.t.Helper()
	p.running()
	p.kill()
}

// Pause stops the server's clock: connections stay, nothing is answered.
func (p *Process) Pause() {
	p.t.Helper()
	p.Signal(syscall.SIGSTOP)
}

// Continue ends a Pause.
func (p *Process) Continue() {
	p.t.Helper()
	p.Signal(syscall.SIGCONT)
}

// Pid is the process id of the server that runs.
func (p *Process) Pid() int {
	p.t.Helper()
	p.running()
	return p.cmd.Process.Pid
}

// Log is everything that the server said.
func (p *Process) Log() string {
	p.t.Helper()
	p.mine()
	text, err := os.ReadFile(p.logFile())
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

// Dir is the server's working directory.
func (p *Process) Dir() string { return p.dir }

// mine ends a test that would stop a server of others.
func (p *Process) mine() {
	p.t.Helper()
	if p.foreign {
		p.t.Fatalf("%s is shared with others: a backends function that begins with Own starts one that can be stopped", p.name)
	}
}

func (p *Process) running() {
	p.t.Helper()
	p.mine()
	if p.cmd == nil {
		p.t.Fatalf("%s does not run", p.name)
	}
}

// Signal sends a signal to the server and to the processes that it started.
func (p *Process) Signal(s syscall.Signal) {
	p.t.Helper()
	p.running()
	if err := syscall.Kill(-p.cmd.Process.Pid, s); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// kill ends the run, if there is one. The process is waited for last: until then
// its id stands for nobody else, whom the guard might kill.
func (p *Process) kill() {
	if p.cmd == nil {
		return
	}
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		p.t.Errorf("%s: %v", p.name, err)
	}
	if p.guard != nil {
		_ = p.guard.Process.Kill()
		_ = p.guard.Wait() // it was killed
		_ = p.alive.Close()
	}
	_ = p.cmd.Wait() // it was killed
	// Its children, nginx's workers, are not ours to wait for. They may take a moment.
	for range 1000 {
		if errors.Is(syscall.Kill(-p.cmd.Process.Pid, 0), syscall.ESRCH) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	p.cmd, p.guard, p.alive = nil, nil, nil
}

func (p *Process) logFile() string { return filepath.Join(p.dir, "log") }

// lastWords are the last lines of the log.
func (p *Process) lastWords() []byte {
	text, err := os.ReadFile(p.logFile())
	if err != nil {
		return []byte(err.Error())
	}
	return text[max(0, len(text)-4000):]
}

// Run starts a program that is not one of this package's servers, and ends it
// with the test. ready returns nil when it serves.
func Run(t testing.TB, name, path string, args, env []string, ready func() error) *Process {
	t.Helper()
	p := newProcess(t, name, path)
	p.args, p.env, p.ready = args, env, ready
	p.untilEnd()
	return p
}
