package process

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// Whoever has no terminal any more ends, unless it was started to stay.
func TestEndContext(t *testing.T) {
	was := signal.Ignored(syscall.SIGHUP)
	t.Cleanup(func() {
		if signal.Reset(syscall.SIGHUP); was {
			signal.Ignore(syscall.SIGHUP)
		}
	})
	hups := make(chan os.Signal, 1) // the test itself outlives it
	for _, c := range []struct {
		name    string
		ignored bool
		sig     syscall.Signal
		ends    bool
	}{
		{"told to end", false, syscall.SIGTERM, true},
		{"the terminal is closed", false, syscall.SIGHUP, true},
		{"told to end, under nohup", true, syscall.SIGTERM, true},
		{"the terminal is closed, under nohup", true, syscall.SIGHUP, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.ignored {
				signal.Ignore(syscall.SIGHUP)
			} else {
				signal.Notify(hups, syscall.SIGHUP)
			}
			ctx, stop := EndContext(context.Background())
			defer stop()
			if err := syscall.Kill(os.Getpid(), c.sig); err != nil {
				t.Fatal(err)
			}
			patience := time.Minute
			if !c.ends {
				patience = 100 * time.Millisecond // whoever would end does it at once, mostly
			}
			select {
			case <-ctx.Done():
				if !c.ends {
					t.Error("it ends")
				}
			case <-time.After(patience):
				if c.ends {
					t.Error("it does not end")
				}
			}
		})
	}
}
