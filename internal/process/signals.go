package process

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// IgnoreBrokenPipes lets writes to a stdout or stderr that nobody reads any
// more fail, where SIGPIPE would end the program: after Ctrl-C in
// `hubbub 2>&1 | tee log` tee is the first to go. The signal is caught and not
// ignored, so that programs which this one starts have it as it was.
func IgnoreBrokenPipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// EndContext is cancelled by the first SIGINT or SIGTERM, or when the terminal
// is closed (SIGHUP; not if that was ignored when the program started, as
// nohup has it). After stop, which its caller calls at once then, a second
// SIGINT or SIGTERM ends the program; another SIGHUP does not: kernel and shell
// both send one.
func EndContext(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	signals, restore := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		hangUp := make(chan os.Signal, 1)
		signal.Notify(hangUp, syscall.SIGHUP)
		go func() { // ends with the context
			select {
			case <-hangUp:
				cancel()
			case <-signals.Done():
			}
		}()
	}
	return signals, func() { cancel(); restore() }
}

// Terminal is the terminal that a process was started from, if any.
type Terminal struct {
	had  bool // there was one
	stay bool // the process was told to outlive it: by nohup
}

// StartedFrom looks for the terminal. It is to be called before SIGHUP is
// caught.
func StartedFrom() Terminal {
	return Terminal{had: haveTerminal(), stay: signal.Ignored(syscall.SIGHUP)}
}

// Closed reports, when a SIGHUP has come, that it came because the terminal is
// gone. Otherwise somebody has sent it, who means something else by it: a
// terminal that is closed is taken from all processes of its session before
// any of them gets the signal, and one that never had a terminal (systemd,
// containers, setsid) cannot lose it.
func (t Terminal) Closed() bool { return t.had && !t.stay && !haveTerminal() }

// haveTerminal reports whether this process has a controlling terminal.
func haveTerminal() bool {
	f, err := os.OpenFile("/dev/tty", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	_ = f.Close() // only looked at
	return true
}
