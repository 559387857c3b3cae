package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/report"
	"github.com/hubbub-chat/hubbub/loadgen/scenario"
)

// crewFlags say who plays a scenario beside this process, or instead of it.
type crewFlags struct {
	Workers    int      `help:"Play with so many processes on this machine; 0: one, or as many as the limit of open files asks for (default ${default})." default:"0" json:"workers"`
	WorkerAt   []string `name:"worker" sep:"none" help:"Play with these processes, which run loadgen work, instead. May be given several times." placeholder:"HOST:PORT" json:"workers_at,omitempty"`
	SecretFile string   `help:"File with the secret of those workers; or $$LOADGEN_WORKER_SECRET." placeholder:"FILE" json:"-"`
}

// number is how many processes play, this one not counted; 0: it plays itself.
func (c *crewFlags) number(connections int) int {
	if len(c.WorkerAt) > 0 {
		return len(c.WorkerAt)
	}
	if c.Workers > 0 {
		return c.Workers
	}
	var lim syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim) != nil || uint64(connections+spareFiles) <= lim.Max {
		return 0
	}
	each := int(lim.Max) - spareFiles
	return (connections + each - 1) / each
}

// maxHired bounds the processes started on one machine. With the usual limit of
// open files they hold more connections than a machine has memory for.
const maxHired = 32

// coordinator plays a scenario through workers.
type coordinator struct {
	env     environment
	target  *target
	secret  string
	workers []string // their addresses
	client  http.Client
}

// playWithCrew deals a scenario to workers and puts their results together.
func playWithCrew(env environment, t *target, crew *crewFlags, w *witnesses, sc *scenario.Scenario, setup any) error {
	if w.wanted() {
		return usageError("--history, --mysql and --acked-file want one process: leave --workers and --worker out")
	}
	for i := range sc.Phases {
		if do := sc.Phases[i].Do; do != nil && len(do.Command) > 0 {
			return usageError("a scenario with commands wants one process: leave --workers and --worker out")
		}
	}
	n := crew.number(sc.Connections)
	if len(crew.WorkerAt) == 0 && n > maxHired {
		return usageError(fmt.Sprintf("%d connections want %d processes of RLIMIT_NOFILE open files each, and at most %d are started here: "+
			"raise it (ulimit -Hn as root, or LimitNOFILE= in systemd), or use hosts of their own (--worker)", sc.Connections, n, maxHired))
	}
	// Ctrl-C does not end the workers: it asks them for what they have.
	ctx, cancel := context.WithCancel(context.WithoutCancel(env.ctx))
	defer cancel()
	c := &coordinator{env: env, target: t, workers: crew.WorkerAt}
	defer c.client.CloseIdleConnections()
	var err error
	if len(c.workers) > 0 {
		if c.secret, err = readSecret(crew.SecretFile); err != nil {
			return err
		}
	} else {
		end, err := c.hire(ctx, n)
		defer end()
		if err != nil {
			return err
		}
	}
	parts := split(sc, n)
	outcomes, usages, err := c.play(ctx, parts, sc)
	if err != nil {
		return err
	}
	return c.finish(outcomes, usages, setup)
}

// hire starts workers on this machine. end lets them go.
func (c *coordinator) hire(ctx context.Context, n int) (end func(), err error) {
	var secret [16]byte
	_, _ = rand.Read(secret[:]) // never fails
	c.secret = hex.EncodeToString(secret[:])
	ctx, cancel := context.WithCancel(ctx)
	var hired []*exec.Cmd
	end = func() {
		cancel()
		for _, cmd := range hired {
			_ = cmd.Wait() // it was interrupted
		}
	}
	for range n {
		cmd, err := self(ctx, "work", "--tied")
		if err != nil {
			return end, err
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is the coordinator's
		cmd.Env = append(os.Environ(), workerSecret+"="+c.secret)
		out, err := cmd.StdoutPipe()
		if err == nil {
			_, err = cmd.StdinPipe() // closed with this process, however it ends
		}
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			return end, fmt.Errorf("worker: %w", err)
		}
		hired = append(hired, cmd)
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			return end, fmt.Errorf("worker: said %q, %w", line, err)
		}
		c.workers = append(c.workers, strings.TrimSpace(line))
	}
	return end, nil
}

// usages are the server's at the times that matter.
type usages struct{ began, connected, from, to report.Usage }

// play sends each worker its part, lets all begin together, and waits.
func (c *coordinator) play(ctx context.Context, parts []*scenario.Scenario, sc *scenario.Scenario) ([]*report.Outcome, *usages, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := func() (u report.Usage) {
		if c.target.ServerPid > 0 {
			u, _ = processUsage(c.target.ServerPid) // zeros, when it has died
		}
		return u
	}
	defer context.AfterFunc(c.env.ctx, func() { c.halt(ctx) })()
	u := &usages{began: server()}
	ready, begin := make(chan struct{}, len(parts)), make(chan struct{})
	outcomes, errs := make([]*report.Outcome, len(parts)), make([]error, len(parts))
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() { // ends with ctx
			if outcomes[i], errs[i] = c.one(ctx, i, parts[i], ready, begin); errs[i] != nil {
				cancel() // without one of them it is another scenario
			}
		})
	}
	for range parts {
		select {
		case <-ready:
		case <-ctx.Done():
		}
	}
	u.connected = server()
	u.from = u.connected
	over := make(chan struct{})
	var looks sync.WaitGroup
	if ctx.Err() == nil {
		warm, total := measuredSpan(sc)
		fmt.Fprintf(c.env.stderr, "%d workers are ready: %d connections\n", len(parts), sc.Connections) // a lost line changes nothing
		close(begin)
		for _, look := range []struct {
			after time.Duration
			to    *report.Usage
		}{{warm, &u.from}, {total, &u.to}} {
			looks.Go(func() { // ends when all workers have
				select {
				case <-time.After(look.after):
					*look.to = server()
				case <-over:
				}
			})
		}
	}
	wg.Wait()
	close(over)
	looks.Wait()
	if u.to.CPU == 0 {
		u.to = server()
	}
	for i, err := range errs {
		if err != nil && (ctx.Err() == nil || !strings.Contains(err.Error(), context.Canceled.Error())) {
			return nil, nil, fmt.Errorf("worker %d (%s): %w", i, c.workers[i], err)
		}
	}
	return outcomes, u, nil
}

// halt asks all workers to end, with the report so far.
func (c *coordinator) halt(ctx context.Context) {
	for i := range c.workers {
		if resp, err := c.post(ctx, i, "/stop", nil); err == nil { // one that is gone needs no asking
			_ = resp.Body.Close() // empty
		}
	}
}

// measuredSpan is when the measured phases begin and end.
func measuredSpan(sc *scenario.Scenario) (from, to time.Duration) {
	began := false
	var at time.Duration
	for i := range sc.Phases {
		if ph := &sc.Phases[i]; ph.Measured() {
			if !began {
				from, began = at, true
			}
			to = at + ph.For.Value
		}
		at += sc.Phases[i].For.Value
	}
	return from, to
}

// one works with one worker.
func (c *coordinator) one(ctx context.Context, i int, part *scenario.Scenario, ready chan<- struct{}, begin <-chan struct{}) (*report.Outcome, error) {
	t := c.target
	body, err := json.Marshal(job{Scenario: part, URLs: t.URLs, Protocol: t.Protocol, Loops: t.Loops, Seed: t.Seed + uint64(i),
		Prefix: prefixOf(t, i), Patience: t.JoinTimeout})
	if err != nil {
		return nil, err
	}
	resp, err := c.post(ctx, i, "/play", body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	lines := json.NewDecoder(resp.Body)
	for {
		var w word
		if err := lines.Decode(&w); err != nil {
			return nil, fmt.Errorf("it ended without a result: %w", err)
		}
		switch {
		case w.Error != "":
			return nil, fmt.Errorf("%s", w.Error)
		case w.Result != nil:
			return w.Result.Unpack()
		case w.Ready:
			ready <- struct{}{}
			select {
			case <-begin:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			ack, err := c.post(ctx, i, "/begin", nil)
			if err != nil {
				return nil, err
			}
			_ = ack.Body.Close() // empty
		}
	}
}

// prefixOf keeps workers' rooms apart where their names are given.
func prefixOf(t *target, i int) string {
	if t.RoomPrefix == "" {
		return ""
	}
	return fmt.Sprintf("%s%d-", t.RoomPrefix, i)
}

func (c *coordinator) post(ctx context.Context, i int, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.workers[i]+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.secret)
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(text)))
	}
	return resp, nil
}

// finish judges what all did together and hands the report out.
func (c *coordinator) finish(outcomes []*report.Outcome, u *usages, setup any) error {
	sum := report.Merge(outcomes)
	r := sum.Report
	r.Setup = setup
	r.Tool.Workers = len(outcomes)
	if c.target.ServerPid > 0 {
		r.Server = report.NewServer(u.began, u.connected, u.from, u.to, r)
	}
	for i, o := range outcomes {
		for _, f := range o.Report.Expected {
			r.Faults = append(r.Faults, fmt.Sprintf("worker %d: %s", i, f))
		}
	}
	r.Judge()
	return c.env.handOut(c.target, &report.Outcome{Report: r, Series: sum.Series, Phases: sum.Phases})
}
