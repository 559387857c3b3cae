package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/report"
	"github.com/hubbub-chat/hubbub/loadgen/scenario"
)

// findMaxCmd is `find-max`: the highest load at which a server keeps its
// promises. It doubles until an attempt fails, and then halves the distance.
type findMaxCmd struct {
	target
	Scenario  string        `arg:"" optional:"" default:"step" help:"What each attempt plays (default ${default})." json:"scenario"`
	SLO       string        `name:"slo" required:"" help:"The promises: a YAML file of p99, ack_p99, loss, failed, memory, cpu." placeholder:"FILE" json:"slo"`
	Knob      string        `enum:"rate,connections" default:"rate" help:"What is turned up: rate (all phases in proportion) or connections (rooms in proportion) (default ${default})." json:"knob"`
	From      float64       `default:"500" help:"Where to begin (default ${default})." json:"from"`
	To        float64       `default:"1000000" help:"Where to end at the latest (default ${default})." json:"to"`
	Precision float64       `default:"0.1" help:"How near the answer has to be: 0.1 is one part in ten (default ${default})." json:"precision"`
	Rest      time.Duration `default:"1s" help:"Pause between attempts (default ${default})." json:"rest_ns"`
	Set       []string      `help:"Replace what the scenario says: a key, = and its value." placeholder:"KEY=VALUE" sep:"none" json:"set,omitempty"`
}

func (c *findMaxCmd) check() (*scenario.SLO, []byte, error) {
	switch {
	case c.From <= 0 || c.To < c.From || c.To > 1e7:
		return nil, nil, usageError("--from must be above 0, --to not below it and at most 10,000,000")
	case c.Precision < 0.01 || c.Precision > 1:
		return nil, nil, usageError("--precision must be from 0.01 to 1")
	case c.ServerPid == 0:
		return nil, nil, usageError("find-max needs --server-pid, to say which resource gave out")
	case c.Rest < 0:
		return nil, nil, usageError("--rest must not be below 0")
	}
	promises, err := os.ReadFile(c.SLO)
	if err != nil {
		return nil, nil, usageError("--slo: " + err.Error())
	}
	slo, err := scenario.ParseSLO(promises)
	if err != nil {
		return nil, nil, usageError(fmt.Sprintf("--slo %s: %v", c.SLO, err))
	}
	text, err := scenario.Text(c.Scenario)
	if err != nil {
		return nil, nil, usageError(err.Error())
	}
	return slo, text, nil
}

// Run is kong's entry.
func (c *findMaxCmd) Run(env environment) error {
	slo, text, err := c.check()
	if err != nil {
		return err
	}
	part := &report.FindMax{Knob: c.Knob, Attempts: []report.Attempt{}}
	var series []report.Series // of all attempts
	for value, ok := c.From, true; ok; value, ok = c.next(part) {
		a, all, err := c.attempt(env, text, slo, value)
		series = append(series, all...)
		if err != nil && len(part.Attempts) == 0 {
			return err
		}
		if err != nil { // it goes no further: the tool, or the machine, ends here
			a = report.Attempt{Value: value, Why: []string{err.Error()}, Resource: "this tool"}
		}
		part.Add(a)
		fmt.Fprintf(env.stderr, "%s %.0f: %s\n", c.Knob, value, a.Word()) // a lost line changes nothing
		if env.ctx.Err() != nil {
			break
		}
		select {
		case <-time.After(c.Rest): // what is left of the last has to go
		case <-env.ctx.Done():
		}
	}
	r := &report.Report{Scenario: "find-max", Run: "-", Began: time.Now(), Setup: c, FindMax: part,
		Interrupted: env.ctx.Err() != nil, Invalid: []string{}, Faults: []string{}}
	if part.Best == 0 {
		r.Faults = append(r.Faults, part.Line())
	}
	for i := range part.Attempts {
		if a := &part.Attempts[i]; a.Met && a.Value == part.Best {
			r.Invalid = append(r.Invalid, a.Invalid...)
		}
	}
	return env.handOut(&c.target, &report.Outcome{Report: r, Series: series})
}

// next is what to try next: twice as much while nothing has failed, then the
// geometric middle, until the two ends are near.
func (c *findMaxCmd) next(p *report.FindMax) (value float64, ok bool) {
	switch {
	case p.Failed == 0:
		value = min(p.Best*2, c.To)
		return value, value > p.Best
	case p.Best == 0:
		value = p.Failed / 2
		return value, value >= 1 && value >= c.From/64
	case p.Failed/p.Best <= 1+c.Precision:
		return 0, false
	}
	return math.Round(math.Sqrt(p.Best * p.Failed)), math.Round(math.Sqrt(p.Best*p.Failed)) > p.Best
}

// attempt plays the scenario once. The latencies are returned where they are to be
// written down, by names of their own.
func (c *findMaxCmd) attempt(env environment, text []byte, slo *scenario.SLO, value float64) (a report.Attempt, all []report.Series, err error) {
	sc, err := scenario.Parse(text, c.Set...)
	if err != nil {
		return a, nil, usageError(fmt.Sprintf("scenario %s: %v", c.Scenario, err))
	}
	if err := c.turn(sc, value); err != nil {
		return a, nil, err
	}
	var got *report.Outcome
	quiet := environment{ctx: env.ctx, stdout: io.Discard, stderr: io.Discard, keep: func(o *report.Outcome) { got = o }}
	t := c.target
	t.Outputs, t.ConnectRate = report.Outputs{Prometheus: c.Prometheus}, sc.ConnectRate
	if err := play(quiet, &t, &witnesses{}, sc, nil); err != nil && !errors.Is(err, errFaults) {
		return a, nil, err
	}
	if c.Hgrm != "" {
		for _, s := range got.Series {
			s.Name = fmt.Sprintf("%s %.0f %s", c.Knob, value, s.Name)
			all = append(all, s)
		}
	}
	return judge(got.Report, slo, value), all, nil
}

// turn sets the knob.
func (c *findMaxCmd) turn(sc *scenario.Scenario, value float64) error {
	if c.Knob == "connections" {
		by := value / float64(sc.Connections)
		sc.Connections = int(value)
		sc.Rooms.Count = max(1, min(sc.Connections, int(float64(sc.Rooms.Count)*by)))
		return nil
	}
	var top float64
	for i := range sc.Phases {
		top = max(top, sc.Phases[i].Rate.From, sc.Phases[i].Rate.To)
	}
	if top == 0 {
		return usageError(fmt.Sprintf("scenario %s: no phase has a rate that could be turned up", c.Scenario))
	}
	for i := range sc.Phases {
		r := &sc.Phases[i].Rate
		r.From, r.To = r.From*value/top, r.To*value/top
	}
	return nil
}

// judge compares a run with the promises.
func judge(r *report.Report, slo *scenario.SLO, value float64) report.Attempt {
	a := report.Attempt{Value: value, Why: []string{}, Invalid: r.Invalid}
	bad := func(format string, args ...any) { a.Why = append(a.Why, fmt.Sprintf(format, args...)) }
	if m := r.Messages; m != nil {
		a.Delivered, a.Delivery, a.Ack = m.DeliveredRate, m.Delivery, m.Ack
		for _, why := range []string{m.Delivery.Broken("delivery", slo.P99.Value), m.Ack.Broken("ack", slo.AckP99.Value)} {
			if why != "" {
				bad("%s", why)
			}
		}
	} else {
		bad("nothing was measured")
	}
	if k := r.Check; k != nil {
		if n := k.Lost + k.Duplicated + k.Reordered + k.Unexpected; n > slo.Loss {
			bad("%d deliveries lost or wrong", n)
		}
		if n := k.Failed + k.Closed + k.Refused + k.Unanswered + k.Unsent; n > slo.Failed {
			bad("%d connections or publishes failed", n)
		}
	}
	if s := r.Server; s != nil {
		a.CPU, a.RSS = s.CPUPercent/100, s.RSS
		if slo.Memory > 0 && !a.RSS.Known() || slo.CPU > 0 && !a.CPU.Known() {
			a.Invalid = append(a.Invalid, "the promises of the server's memory and CPU were not looked at: they are not known on this system")
		}
		if s.RSS == 0 && (slo.Memory > 0 || slo.CPU > 0) {
			bad("the server's CPU and memory could not be read: its process is gone")
		}
		if slo.Memory > 0 && s.RSS > report.Figure(slo.Memory) {
			bad("resident memory %s above %s", s.RSS.Mib(), report.Mib(int64(slo.Memory)))
		}
		if slo.CPU > 0 && a.CPU > report.Figure(slo.CPU) {
			bad("CPU of %.2f cores above %g", a.CPU, slo.CPU)
		}
	}
	n := 0.0
	for i := range r.Timeline {
		if p := &r.Timeline[i]; r.Measures(p.Phase) && p.Sent > 0 {
			a.ToolCPU, n = a.ToolCPU+p.ToolCPU/100, n+1
		}
	}
	a.ToolCPU /= max(n, 1)
	if a.Met = len(a.Why) == 0; !a.Met {
		a.Resource = gaveOut(&a, r)
	}
	return a
}

// gaveOut says which resource an attempt ran out of, by what is known from
// outside: the first that fits.
func gaveOut(a *report.Attempt, r *report.Report) string {
	cores := float64(runtime.NumCPU())
	failed := func(code string) bool { return r.Connections.Errors[code] > 0 || r.Connections.Closes[code] > 0 }
	switch {
	case strings.Contains(strings.Join(a.Why, " "), "memory"):
		return "the server's memory"
	case r.Connections.DialError != "":
		return "this tool's sockets (" + r.Connections.DialError + ")"
	case r.Connections.Failed > 0:
		return "the server's connections (its open files, or its limits)" + r.Connections.MainReason()
	case failed("3008"):
		return "members that read too slowly (this tool's loops, or the server's log)"
	case failed("111"), failed("3013"):
		return "the server's limits of rates"
	case a.ToolCPU > report.MaxToolCPU*float64(r.Tool.Loops):
		return "this tool's CPU: give it more --loops, or another machine"
	case float64(a.CPU)+a.ToolCPU > 0.85*cores:
		return fmt.Sprintf("CPU (the server %.2f, this tool %.2f of %g cores)", a.CPU, a.ToolCPU, cores)
	case a.CPU > 0.9 && a.CPU < 1.1:
		return "one core of the server: one of its goroutines is busy all the time"
	case a.Delivery.Count == 0 || a.Ack.Count == 0:
		return "not known: nothing was delivered, or acknowledged, while it was measured"
	case a.Ack.P99 > 0 && a.Delivery.P99 < a.Ack.P99/2:
		return "what stands between delivery and acknowledgement (the log, or the store)"
	}
	if !a.CPU.Known() {
		return "not known: nor is the server's CPU on this system"
	}
	return fmt.Sprintf("waiting, with CPU to spare (the server %.2f of %g cores): the store's disk, or other work on the machine", a.CPU, cores)
}
