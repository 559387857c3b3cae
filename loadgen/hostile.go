package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/check"
	"github.com/hubbub-chat/hubbub/loadgen/hostile"
	"github.com/hubbub-chat/hubbub/loadgen/pace"
	"github.com/hubbub-chat/hubbub/loadgen/report"
)

// hostileCmd is the scenario `hostile`: honest members of rooms are measured
// before, while and after others attack the server, each attack in turn.
type hostileCmd struct {
	target
	Connections int           `help:"Honest connections (default ${default})." default:"200" short:"c" json:"connections"`
	Rooms       int           `help:"Rooms; connection i joins room i mod ROOMS (default ${default})." default:"20" json:"rooms"`
	Rate        float64       `help:"Messages the honest publish a second (default ${default})." default:"400" short:"r" json:"rate"`
	Payload     int           `help:"Bytes of a message's data, 96 at least (default ${default})." default:"200" json:"payload"`
	Quiet       time.Duration `help:"Time without an attack before each and after the last: what latencies are compared with (default ${default})." default:"4s" json:"quiet_ns"`
	Attack      time.Duration `help:"Time of each attack; those that need longer to show how they end take it (default ${default})." default:"4s" json:"attack_ns"`
	Attacks     []string      `help:"Which to make, of ${attacks} (default: all)." placeholder:"NAME" json:"attacks,omitempty"`
	MaxRatio    float64       `help:"A fault when the honest p99 during an attack is above so many times that of the quiet around it; 0: never (default ${default})." default:"0" json:"max_ratio"`
	MaxGrowth   int           `help:"A fault when an attack makes the server's resident memory grow by more, in MiB; wants --server-pid (default ${default})." default:"128" json:"max_growth_mib"`
	MaxRest     float64       `help:"A fault when the server uses more CPU a second after an attack than before it by so much, in percent of a core; wants --server-pid; 0: never (default ${default})." default:"60" json:"max_rest_percent"`
	Drain       time.Duration `help:"How long to wait at the end for what was published (default ${default})." default:"5s" json:"drain_ns"`
}

func (h *hostileCmd) chosen() ([]hostile.Attack, error) {
	all := hostile.All()
	if len(h.Attacks) == 0 {
		return all, nil
	}
	for _, name := range h.Attacks {
		if !slices.ContainsFunc(all, func(a hostile.Attack) bool { return a.Name == name }) {
			return nil, usageError(fmt.Sprintf("--attacks: there is no %q; there are %s", name, attackNames()))
		}
	}
	return slices.DeleteFunc(all, func(a hostile.Attack) bool { return !slices.Contains(h.Attacks, a.Name) }), nil
}

func attackNames() string {
	var names []string
	for _, a := range hostile.All() {
		names = append(names, a.Name)
	}
	return strings.Join(names, ", ")
}

func (h *hostileCmd) check() error {
	switch {
	case h.Rooms < 1 || h.Rooms > h.Connections:
		return usageError("--rooms must be from 1 to --connections")
	case h.Rate <= 0 || h.Rate > 1e6:
		return usageError("--rate must be above 0, and at most 1,000,000 messages/s")
	case h.Payload < check.MinPayload || h.Payload > 1<<20:
		return usageError(fmt.Sprintf("--payload must be from %d to %d bytes", check.MinPayload, 1<<20))
	case h.Quiet <= 0 || h.Attack <= 0 || h.Drain < 0:
		return usageError("--quiet and --attack must be above 0, --drain not below")
	case h.MaxRatio < 0 || h.MaxGrowth < 0 || h.MaxRest < 0:
		return usageError("--max-ratio, --max-growth and --max-rest must not be below 0")
	}
	return nil
}

// Run is kong's entry.
func (h *hostileCmd) Run(env environment) error {
	if err := h.check(); err != nil {
		return err
	}
	attacks, err := h.chosen()
	if err != nil {
		return err
	}
	for i := range attacks {
		attacks[i].Prepare() // before there is anything to be disturbed by it
	}
	l := inTurn(h.Connections, h.Rooms)
	s, err := newSession(env, &h.target, "hostile", h, l, check.Exactly(h.Payload))
	if err != nil {
		return err
	}
	if s.join(0, l.conns) != nil {
		return s.finish(nil)
	}
	w := &siege{hostileCmd: h, session: s, all: newRecorder()}
	s.report.Hostile = w.run(attacks)
	s.report.Check = s.checked(1)
	return s.finish(nil)
}

// restsIn is how long a server may go on with what an attack has left it.
const restsIn = time.Second

// siege is a hostile run under way.
type siege struct {
	*hostileCmd
	*session
	all   *recorder
	high  report.Figure // the server's resident memory, at its highest in this phase
	looks int
}

// phase is what the honest noticed in one stretch of time.
type phase struct {
	delivery, lag report.Latency
	cpu           report.Figure // of one core, percent
	rss           report.Figure // at its highest
	endRSS        report.Figure
	closed        uint64
}

// hold measures for so long. It ends early with the context.
func (w *siege) hold(ctx context.Context, d time.Duration) phase {
	return w.holdUntil(ctx, d, func() bool { return false })
}

// holdUntil is hold that ends when over says so, too.
func (w *siege) holdUntil(ctx context.Context, d time.Duration, over func() bool) phase {
	f := w.fleet
	before, began := w.server(), f.clock.now()
	w.high = before.RSS
	from := f.counts()
	f.forget(began, math.MaxInt64)
	to, _ := f.watch(ctx, d, w.tell, func(c *report.Snapshot) bool { // whoever cancelled knows
		if w.looks++; w.looks%4 == 0 { // each 80 ms: it is not free
			w.high = max(w.high, w.server().RSS)
		}
		return c.Open() == 0 || over()
	})
	after := w.server()
	rec := f.forget(f.clock.now(), math.MaxInt64)
	w.all.merge(rec)
	seconds := max(float64(f.clock.now()-began)/1e9, 1e-9)
	return phase{rec.now.Delivery, rec.lag, (after.CPU - before.CPU) / report.Figure(seconds) * 100,
		max(w.high, after.RSS), after.RSS, to.Closed - from.Closed}
}

func (w *siege) run(attacks []hostile.Attack) *report.Hostile {
	part := &report.Hostile{Attacks: []report.Attack{}, Faults: []string{}}
	f, ctx := w.fleet, w.env.ctx
	from := f.counts()
	longest := time.Second + w.Quiet
	for i := range attacks {
		longest += restsIn + w.Quiet + max(w.Attack, attacks[i].AtLeast) + longer*w.Attack + time.Second
	}
	count := int64(w.Rate * longest.Seconds())
	f.talk(&plan{Pacer: pace.Even(w.Rate, count), start: f.clock.now(), layout: &f.layout})
	w.hold(ctx, min(w.Quiet, time.Second)) // caches fill, and nobody looks
	quiet := w.hold(ctx, w.Quiet)
	for i := range attacks {
		if ctx.Err() != nil {
			break
		}
		a := &attacks[i]
		fmt.Fprintf(w.env.stderr, "attack: %s (%s)\n", a.Name, a.Help) // a lost line changes nothing
		p := report.Attack{Name: a.Name, Help: a.Help, QuietCPU: quiet.cpu, Before: quiet.delivery.Quantiles()}
		during := w.attacked(ctx, a, &p)
		rest := w.hold(ctx, min(w.Quiet, restsIn))
		after := w.hold(ctx, w.Quiet)
		p.After = after.delivery.Quantiles()
		p.Closed += rest.closed + after.closed
		p.RestCPU = after.cpu
		p.CPU, p.Growth = during.cpu, during.rss-quiet.endRSS
		quiet.delivery.Merge(after.delivery)
		p.Compare(quiet.delivery.Quantiles())
		part.Attacks = append(part.Attacks, p)
		quiet = after
	}
	to := f.counts()
	w.drain(w.Drain)
	w.report.Interrupted = ctx.Err() != nil
	w.times = &w.all.now
	w.report.Messages = report.NewMessages(&from, &to, &w.all.now)
	w.judge(part)
	return part
}

// longer is how much longer than it should an attack may go on until it has shown how it
// ends: on a busy machine that takes its time.
const longer = 5

// attacked lets an attack run beside the honest.
func (w *siege) attacked(ctx context.Context, a *hostile.Attack, p *report.Attack) phase {
	ctx, end := context.WithCancel(ctx)
	defer end()
	shown := new(hostile.Shown)
	done := make(chan hostile.Result, 1)
	go func() { // ends with ctx
		e := w.fleet.endpoints[0]
		done <- a.Run(ctx, hostile.Target{Addr: e.addr, Host: e.host, URI: e.uri}, shown)
	}()
	enough := time.Now().Add(max(w.Attack, a.AtLeast))
	during := w.holdUntil(ctx, time.Until(enough)+longer*w.Attack, func() bool { return time.Now().After(enough) && shown.Enough(a) })
	end()
	p.Result = <-done
	p.During, p.Lag, p.Closed = during.delivery.Quantiles(), during.lag.Quantiles(), during.closed
	return during
}

func (h *hostileCmd) judge(p *report.Hostile) {
	for i := range p.Attacks {
		a := &p.Attacks[i]
		p.Faults = append(p.Faults, a.Wrong...)
		if a.Closed > 0 {
			p.Faults = append(p.Faults, fmt.Sprintf("%s: %d honest connections ended", a.Name, a.Closed))
		}
		if quiet := min(a.Before.Count, a.After.Count); h.MaxRatio > 0 && min(quiet, a.During.Count) == 0 {
			p.Faults = append(p.Faults, fmt.Sprintf("%s: the honest p99: nothing was measured, during the attack or beside it", a.Name))
		}
		if h.MaxRatio > 0 && a.RatioP99 > h.MaxRatio {
			p.Faults = append(p.Faults, fmt.Sprintf("%s: the honest p99 is %.1f times that of the quiet, above %.1f", a.Name, a.RatioP99, h.MaxRatio))
		}
		if h.MaxRest > 0 && h.ServerPid > 0 && a.RestCPU > a.QuietCPU+report.Figure(h.MaxRest) {
			p.Faults = append(p.Faults, fmt.Sprintf("%s: the server does not come to rest: %.0f%% of a core after it, %.0f%% before", a.Name, a.RestCPU, a.QuietCPU))
		}
		if grown := a.Growth / (1 << 20); h.MaxGrowth > 0 && grown > report.Figure(h.MaxGrowth) {
			p.Faults = append(p.Faults, fmt.Sprintf("%s: the server grew by %.1f MiB, above %d", a.Name, grown, h.MaxGrowth))
		}
	}
}
