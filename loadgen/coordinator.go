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
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"

	"github.com/hubbub-chat/hubbub/loadgen/check"
	"github.com/hubbub-chat/hubbub/loadgen/report"
	"github.com/hubbub-chat/hubbub/loadgen/scenario"
)

// crewFlags say who plays a scenario beside this process, or instead of it.
type crewFlags struct {
	Workers    int      `help:"Play with so many processes on this machine; 0: one, or as many as the limit of open files asks for (default ${default})." default:"0" json:"workers"`
	WorkerAt   []string `name:"worker" sep:"none" help:"Play with these processes, which run loadgen work, instead. May be given several times. Rooms too large for one are shared, here as with --workers." placeholder:"HOST:PORT" json:"workers_at,omitempty"`
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
	each := openFiles() - spareFiles
	if connections <= each {
		return 0
	}
	return (connections + each - 1) / each
}

// maxHired bounds the processes started on one machine. With the usual limit of
// open files they hold more connections than a machine has memory for.
const maxHired = 32

// coordinator plays a scenario through workers.
type coordinator struct {
	env       environment
	target    *target
	scenario  *scenario.Scenario
	secret    string
	workers   []string // their addresses
	hired     bool     // they were started here
	clocks    []offset // theirs, against this process's
	portions  []portion
	run       string
	endpoints []endpoint // as they are seen from here
	keep      bool       // what was acknowledged is wanted
	client    http.Client
	clock     clock
	books     books
	pulse     pulse
	progress  *progress
	faults    []string // of the phases' commands
}

// playWithCrew deals a scenario to workers and puts their results together.
func playWithCrew(env environment, t *target, crew *crewFlags, w *witnesses, sc *scenario.Scenario, setup any) error {
	n := crew.number(sc.Connections)
	if len(crew.WorkerAt) == 0 && n > maxHired {
		return usageError(fmt.Sprintf("%d connections want %d processes of RLIMIT_NOFILE open files each, and at most %d are started here: "+
			"raise it (ulimit -Hn as root, or LimitNOFILE= in systemd), or use hosts of their own (--worker)", sc.Connections, n, maxHired))
	}
	if n > check.MaxAccounts {
		return usageError(fmt.Sprintf("--worker: %d workers are above %d", n, check.MaxAccounts))
	}
	if err := playable(t, w, sc); err != nil {
		return err
	}
	l := layoutOf(sc)
	if err := feasible(sc, &l, t.Loops*n); err != nil {
		return err
	}
	endpoints, notes, err := t.endpoints(env)
	if err != nil {
		return err
	}
	for _, note := range notes {
		fmt.Fprintln(env.stderr, note) // a lost line changes nothing
	}
	if err := w.open(env.ctx); err != nil {
		return err
	}
	defer w.close()
	// Ctrl-C does not end the workers: it asks them for what they have.
	ctx, cancel := context.WithCancel(context.WithoutCancel(env.ctx))
	defer cancel()
	c := &coordinator{env: env, target: t, scenario: sc, workers: crew.WorkerAt, keep: w.wanted(), clock: newClock(0), endpoints: answering(endpoints)}
	c.run, _ = newRunID()
	if t.Seed == 0 {
		t.Seed = mathrand.Uint64()
	}
	c.progress = newProgress(env.stderr, c.clock.unix, c.pulse.recent, c.server)
	defer c.client.CloseIdleConnections()
	end, err := c.gather(ctx, crew, n)
	defer end()
	if err != nil {
		return err
	}
	if t.Prometheus != "" {
		x, err := startExporter(t.Prometheus, c.progress)
		if err != nil {
			return usageError(fmt.Sprintf("--prometheus: %v", err))
		}
		defer x.stop()
	}
	outcomes, usages, err := c.play(ctx)
	if err != nil {
		return err
	}
	return c.finish(ctx, outcomes, usages, w, setup)
}

// gather deals the scenario, and finds those who play it. end lets them go.
func (c *coordinator) gather(ctx context.Context, crew *crewFlags, n int) (end func(), err error) {
	whole, files := c.target.Protocol == "plain", openFiles()-spareFiles
	if c.hired = len(c.workers) == 0; !c.hired {
		files = c.scenario.Connections // how many they can hold, they will say
	}
	c.portions = deal(c.scenario, n, files, whole)
	c.pulse.latest = make([]report.Snapshot, len(c.portions))
	if c.hired {
		c.clocks = make([]offset, n)
		return c.hire(ctx, len(c.portions))
	}
	end = func() {}
	if c.secret, err = readSecret(crew.SecretFile); err != nil {
		return end, err
	}
	return end, c.compareClocks(ctx)
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

func (c *coordinator) server() (u report.Usage) {
	if c.target.ServerPid > 0 {
		u, _ = processUsage(c.target.ServerPid) // zeros, when it has died
	}
	return u
}

// play sends each worker its portion, lets all begin together, and waits.
func (c *coordinator) play(ctx context.Context) ([]*report.Outcome, *usages, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.env.ctx, func() { c.halt(ctx) })()
	u := &usages{began: c.server()}
	n := len(c.portions)
	together := &rendezvous{arrived: make(chan struct{}, n), begin: make(chan struct{})}
	together.settle = newSettlement(c.portions)
	outcomes, errs := make([]*report.Outcome, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { // ends with ctx
			if outcomes[i], errs[i] = c.one(ctx, i, together); errs[i] != nil {
				cancel() // without one of them it is another scenario
			}
		})
	}
	c.await(ctx, together.arrived, n)
	u.connected = c.server()
	u.from = u.connected
	if ctx.Err() == nil {
		c.progress.write(fmt.Sprintf("%d workers are ready: %d connections", n, c.scenario.Connections))
		together.at = c.clock.now() + int64(c.lead())
		close(together.begin)
		over, done := make(chan struct{}), make(chan struct{})
		go func() { // ends with over
			defer close(done)
			c.beside(together.at, u, over)
		}()
		wg.Wait()
		close(over)
		<-done
	}
	wg.Wait()
	c.progress.end()
	if u.to.CPU == 0 {
		u.to = c.server()
	}
	for i, err := range errs {
		if err != nil && (ctx.Err() == nil || !strings.Contains(err.Error(), context.Canceled.Error())) {
			return nil, nil, c.failed(i, err)
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

// rendezvous is where the workers of a crew wait for each other.
type rendezvous struct {
	arrived chan struct{} // one for each whose connections are there
	begin   chan struct{} // closed when all are
	at      int64         // the time to begin, in the coordinator's clock; written before begin is closed
	settle  *settlement
}

// one works with one worker.
func (c *coordinator) one(ctx context.Context, i int, together *rendezvous) (*report.Outcome, error) {
	t := c.target
	arrive := sync.OnceFunc(func() { together.arrived <- struct{}{} })
	defer arrive() // the others do not wait for one that has ended
	defer together.settle.leave(i)
	body, err := json.Marshal(job{portion: c.portions[i], URLs: t.URLs, Protocol: t.Protocol, Loops: t.Loops, Seed: t.Seed + uint64(i),
		Draw: t.Seed, Crew: c.scenario.Connections,
		Run: c.run, Prefix: t.RoomPrefix, Patience: t.JoinTimeout, KeepAcked: c.keep, Clock: int64(c.clocks[i].ahead())})
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
			arrive()
			select {
			case <-together.begin:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			err = c.tell(ctx, i, "/begin", start{together.at})
		case w.Quiet != nil:
			var all map[int]reached
			if all, err = together.settle.wait(ctx, i, w.Quiet); err == nil {
				err = c.tell(ctx, i, "/settle", all)
			}
		case w.Room != nil:
			err = c.books.take(w.Room, lines)
		case w.Now != nil:
			c.pulse.hear(i, w.Now)
		case c.env.ctx.Err() != nil: // it was asked to stop before it had a job, perhaps
			err = c.tell(ctx, i, "/stop", nil)
		}
		if err != nil {
			return nil, err
		}
	}
}

// tell says one thing to a worker. One that was interrupted may not listen any
// more, and has a result all the same.
func (c *coordinator) tell(ctx context.Context, i int, path string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	resp, err := c.post(ctx, i, path, body)
	switch {
	case err == nil:
		return resp.Body.Close() // empty
	case c.env.ctx.Err() != nil:
		return nil
	}
	return err
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

// finish judges what all did together, asks the witnesses, and hands the report
// out.
func (c *coordinator) finish(ctx context.Context, outcomes []*report.Outcome, u *usages, w *witnesses, setup any) error {
	sum := report.Merge(outcomes)
	r := sum.Report
	r.Setup = setup
	r.Tool.Workers = len(outcomes)
	r.Tool.ClockError = c.clockError(ctx).Seconds() * 1e6
	if c.target.ServerPid > 0 {
		for i, s := range c.progress.timeline[:min(len(c.progress.timeline), len(r.Timeline))] {
			r.Timeline[i].CPU, r.Timeline[i].RSSAnon = s.CPU, s.RSSAnon // as all began nearly at once
		}
		r.Server = report.NewServer(u.began, u.connected, u.from, u.to, r)
	}
	for i, o := range outcomes {
		for _, f := range o.Report.Expected {
			r.Expect(fmt.Sprintf("worker %d: %s", i, f))
		}
	}
	r.Expect(c.faults...)
	r.Expect(expectations(&c.scenario.Expect, r)...)
	if acked := c.books.close(r.Check); w.wanted() {
		w.hear(c.env.ctx, c.proof(acked), r)
	}
	r.Judge()
	return c.env.handOut(c.target, sum)
}
