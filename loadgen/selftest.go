package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/null"
	"github.com/hubbub-chat/hubbub/loadgen/report"
)

// nullCmd is `null`: the null server by itself.
type nullCmd struct {
	Addr string `help:"Address to listen on (default ${default})." default:"127.0.0.1:0"`
	tied
	Coalesce time.Duration `help:"Send what a room is told in such a stretch in one frame; 0: each message in its own (default ${default})." default:"0s"`
}

// Run is kong's entry.
func (n *nullCmd) Run(env environment) error {
	if n.Coalesce < 0 {
		return usageError("--coalesce must not be below 0")
	}
	s, err := null.Start(n.Addr, n.Coalesce)
	if err != nil {
		return err
	}
	defer s.Stop()
	fmt.Fprintf(env.stdout, "ws://%s/\n", s.Addr()) // selftest reads it
	<-n.tie(env.ctx).Done()
	return nil
}

// tied is a process that another one has started for itself.
type tied struct {
	Tied bool `help:"End when stdin does." hidden:""`
}

// tie is cancelled with ctx, or when stdin ends: a process that was killed has
// no time to end those it started.
func (t *tied) tie(ctx context.Context) context.Context {
	if !t.Tied {
		return ctx
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() { // ends with stdin, or this process
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return ctx
}

// selftestCmd is `selftest`: what this tool can do on this machine, measured
// against the null server. Both are processes of their own, as in earnest.
type selftestCmd struct {
	Scale float64     `help:"Do so much of each test only (default ${default})." default:"1"`
	JSON  report.File `name:"json" help:"Write the figures to this file too." placeholder:"FILE"`
}

// trial is one of its tests.
type trial struct {
	name     string
	coalesce time.Duration
	args     []string                    // of run; %d is scaled
	scaled   map[string]float64          // flags that are scaled
	figure   func(*report.Report) figure // what is to be shown
}

// figure is one result.
type figure struct {
	Name  string  `json:"name"`
	Want  string  `json:"want"`
	Got   string  `json:"got"`
	Met   bool    `json:"met"`
	CPU   float64 `json:"tool_cpu_percent"` // of one core, while measured
	Fault string  `json:"fault,omitempty"`
}

func (s *selftestCmd) trials() []trial {
	atLeast := func(name string, want float64) func(*report.Report) figure {
		return func(r *report.Report) figure {
			got := r.Messages.DeliveredRate
			return figure{Name: name, Want: fmt.Sprintf("at least %.0f/s", want), Got: fmt.Sprintf("%.0f/s", got), Met: got >= want*0.99}
		}
	}
	return []trial{
		{name: "receives one by one, all checked", args: []string{"-c", "100", "--rooms", "1", "--payload", "128", "--warmup", s.time(1), "-d", s.time(5)},
			scaled: map[string]float64{"-r": 1100}, figure: atLeast("received one by one, all checked", 100_000*s.Scale)},
		{name: "receives coalesced, all checked", coalesce: 20 * time.Millisecond,
			args:   []string{"-c", "500", "--rooms", "1", "--talkers", "20", "--payload", "96", "--warmup", s.time(1), "-d", s.time(5), "--drain", "20s"},
			scaled: map[string]float64{"-r": 4200}, figure: atLeast("received coalesced, all checked", 2_000_000*s.Scale)},
		{name: "holds connections", args: []string{"--rooms", "100", "-r", "100", "--warmup", "0s", "-d", s.time(3), "--drain", "20s"},
			scaled: map[string]float64{"-c": 18_000}, figure: func(r *report.Report) figure {
				got, conns := r.Tool.RSS/1e6, float64(r.Connections.Joined)
				f := figure{Name: fmt.Sprintf("%.0f connections from one process", conns), Want: "under 90 MB resident, 5 kB each", Got: got.Text("%.1f MB")}
				if got.Known() {
					f.Got += fmt.Sprintf(", %.1f kB each", float64(got)*1e3/max(conns, 1))
				}
				f.Met = !(got >= 90) // nothing is held against it that is not known
				return f
			}},
		{name: "is on time", args: []string{"-c", "100", "--rooms", "100", "--warmup", s.time(1), "-d", s.time(5)},
			scaled: map[string]float64{"-r": 10_000}, figure: func(r *report.Report) figure {
				got := r.Messages.SendError
				return figure{Name: "its own timing error at 10,000 messages/s", Want: "p99 under 1 ms",
					Got: fmt.Sprintf("p99 %s, max %s", report.Short(got.P99), report.Short(got.Max)), Met: got.Count > 0 && got.P99 < 1000}
			}},
	}
}

// time is how long a part of a test takes: shorter where little is done, for
// then nobody wants to know how fast.
func (s *selftestCmd) time(seconds float64) string {
	if s.Scale < 0.1 {
		seconds /= 5
	}
	return time.Duration(seconds * float64(time.Second)).String()
}

// Run is kong's entry.
func (s *selftestCmd) Run(env environment) error {
	if s.Scale <= 0 || s.Scale > 10 {
		return usageError("--scale must be above 0, and at most 10")
	}
	var figures []figure
	for _, t := range s.trials() {
		fmt.Fprintf(env.stderr, "selftest: %s\n", t.name) // a lost line changes nothing
		f, err := s.try(env, &t)
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		figures = append(figures, f)
	}
	t := report.NewTable(env.stdout)
	fmt.Fprintln(t, "figure\twanted\tgot\ttool CPU\tresult") // Flush has the error
	missed := false
	for _, f := range figures {
		result := "ok"
		if f.Fault != "" {
			result = "FAILED: " + f.Fault
		} else if !f.Met {
			result = "not met"
		}
		missed = missed || result != "ok"
		fmt.Fprintf(t, "%s\t%s\t%s\t%.0f%%\t%s\n", f.Name, f.Want, f.Got, f.CPU, result)
	}
	if s.JSON != "" {
		if err := s.JSON.WriteJSON(figures); err != nil {
			return err
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if missed {
		return errFaults
	}
	return nil
}

// try makes one test with a null server of its own.
func (s *selftestCmd) try(env environment, t *trial) (figure, error) {
	ctx, cancel := context.WithTimeout(env.ctx, 2*time.Minute)
	defer cancel()
	server, url, err := startNull(ctx, t.coalesce)
	if err != nil {
		return figure{}, err
	}
	defer server()
	dir, err := os.MkdirTemp("", "loadgen-selftest-")
	if err != nil {
		return figure{}, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	file := filepath.Join(dir, "report.json")
	args := append([]string{"run", "--url", url, "--json", file}, t.args...)
	for flag, v := range t.scaled {
		args = append(args, flag, strconv.Itoa(max(1, int(v*s.Scale))))
	}
	cmd, err := self(ctx, args...)
	if err != nil {
		return figure{}, err
	}
	out, runErr := cmd.CombinedOutput()
	r, err := report.Load(file)
	if err != nil {
		return figure{}, fmt.Errorf("%w: %s", errors.Join(err, runErr), strings.TrimSpace(string(out)))
	}
	if r.Messages == nil {
		return figure{}, fmt.Errorf("nothing was measured: %s", r.Verdict())
	}
	f := t.figure(r)
	f.Fault = strings.Join(r.Faults, ", ")
	n := 0.0
	for i := range r.Timeline {
		if p := &r.Timeline[i]; p.Phase == "measure" {
			f.CPU, n = f.CPU+p.ToolCPU, n+1
		}
	}
	f.CPU /= max(n, 1)
	return f, nil
}

// self is this program again, as a process of its own.
func self(ctx context.Context, args ...string) (*exec.Cmd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd, nil
}

// startNull starts a null server and returns its address and what ends it.
func startNull(ctx context.Context, coalesce time.Duration) (stop func(), url string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd, err := self(ctx, "null", "--tied", "--coalesce", coalesce.String())
	if err != nil {
		cancel()
		return nil, "", err
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		_, err = cmd.StdinPipe() // closed with this process, however it ends
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, "", err
	}
	stop = func() {
		cancel()
		_ = cmd.Wait() // it was interrupted
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	url = strings.TrimSpace(line)
	if _, _, splitErr := net.SplitHostPort(strings.Trim(strings.TrimPrefix(url, "ws://"), "/")); err != nil || splitErr != nil {
		stop()
		return nil, "", fmt.Errorf("the null server said %q", line)
	}
	return stop, url, nil
}
