package main

import (
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/check"
	"github.com/hubbub-chat/hubbub/loadgen/pace"
	"github.com/hubbub-chat/hubbub/loadgen/report"
	"github.com/hubbub-chat/hubbub/loadgen/scenario"
)

// playCmd is `play`: a scenario from a file, or one of the built-in ones.
type playCmd struct {
	target
	witnesses
	crewFlags
	Scenario string   `arg:"" help:"A scenario file, or one of ${scenarios}." json:"scenario"`
	Set      []string `help:"Replace what the scenario says: a key like connections or phases.1.rate, = and its value." placeholder:"KEY=VALUE" sep:"none" json:"set,omitempty"`
}

// Run is kong's entry.
func (p *playCmd) Run(env environment) error {
	text, err := scenario.Text(p.Scenario)
	if err != nil {
		return usageError(err.Error())
	}
	sc, err := scenario.Parse(text, p.Set...)
	if err != nil {
		return usageError(fmt.Sprintf("scenario %s: %v", p.Scenario, err))
	}
	p.ConnectRate = sc.ConnectRate
	p.History = p.History || sc.History
	if p.number(sc.Connections) > 0 {
		return playWithCrew(env, &p.target, &p.crewFlags, &p.witnesses, sc, p)
	}
	return play(env, &p.target, &p.witnesses, sc, p)
}

// player is a scenario under way.
type player struct {
	*session
	sc     *scenario.Scenario
	start  int64        // of the first phase, clock ns
	all    report.Times // of all measured phases
	phases []report.Phase
	rounds int // actions so far
}

// play runs a scenario and hands out its report. setup is what the report says
// of how it was asked for.
func play(env environment, t *target, w *witnesses, sc *scenario.Scenario, setup any) error {
	if err := playable(t, w, sc); err != nil {
		return err
	}
	l := layoutOf(sc)
	if env.shift != nil {
		l = env.shift.job.layout() // the coordinator has seen to the rest
	} else if err := feasible(sc, &l, t.Loops); err != nil {
		return err
	}
	p := &player{sc: sc, all: report.NewTimes(0)}
	if err := w.open(env.ctx); err != nil {
		return err
	}
	defer w.close()
	if err := p.meet(env, t, w, l, setup); err != nil {
		return err
	}
	if p.join(0, l.conns) != nil {
		return p.finish(nil)
	}
	at := p.fleet.clock.now()
	if env.shift != nil {
		var err error
		if at, err = env.shift.ready(env.ctx); err != nil {
			p.report.Interrupted = true
			return p.finish(nil)
		}
	}
	connected := p.server()
	p.talk(at)
	cpuFrom, cpuTo, from, to := p.through()
	p.drain(sc.Drain.Value)
	p.sum(&from, &to)
	p.report.Check = p.checked(max(1, sc.CountOnly))
	p.report.Check.MayRefuse = sc.Expect.Unrecovered
	p.report.Expect(expectations(&sc.Expect, p.report)...)
	if env.shift != nil {
		env.shift.tell(p.fleet)
	} else if w.wanted() {
		w.hear(env.ctx, p.fleet.proof(), p.report)
	}
	return p.finish(func(rep *report.Report) {
		if t.ServerPid > 0 {
			rep.Server = report.NewServer(p.began, connected, cpuFrom, cpuTo, rep)
		}
	})
}

// meet makes the session.
func (p *player) meet(env environment, t *target, w *witnesses, l layout, setup any) error {
	sc := p.sc
	tok, err := tokensOf(sc.Tokens)
	if err != nil {
		return err
	}
	p.session, err = newSession(env, t, sc.Name, setup, l, check.Sizes{Least: sc.Payload.Least, Most: sc.Payload.Most}, func(cfg *fleetConfig) {
		cfg.keepAcked, cfg.tokens = w.wanted(), tok
		if sc.HistoryRate > 0 {
			cfg.page = sc.HistoryPage
		}
		if env.shift != nil {
			cfg.job, cfg.keepAcked = env.shift.job, env.shift.job.KeepAcked
		}
		if r := sc.Reconnect; r != nil {
			cfg.comeback = backoff{r.Min.Value, r.Max.Value}
		}
	})
	return err
}

// playable reports a scenario that wants what a server does not have.
func playable(t *target, w *witnesses, sc *scenario.Scenario) error {
	if t.Protocol == "plain" && (sc.Reconnect != nil || sc.Tokens != nil || sc.History || sc.HistoryRate > 0 || w.wanted()) {
		return usageError("a plain server knows neither recovery nor tokens nor history")
	}
	return nil
}

func layoutOf(sc *scenario.Scenario) (l layout) {
	switch r := &sc.Rooms; {
	case len(r.Groups) > 0:
		var all []int
		for _, g := range r.Groups {
			for range g.Count {
				all = append(all, g.Members)
			}
		}
		l = sized(sc.Connections, all)
	case r.Sizes == "zipf":
		l = zipf(sc.Connections, r.Count, r.Exponent)
	default:
		l = inTurn(sc.Connections, r.Count)
	}
	l.sample = max(1, sc.CountOnly)
	return l
}

// What one event loop of this tool can do, measured by its self-test; a
// scenario that asks for more measures the tool.
const (
	maxSends    = 150_000   // publishes a second
	maxReceives = 4_000_000 // deliveries a second, when they come many in a read
)

// feasible reports a scenario that this tool cannot play as it is asked to.
func feasible(sc *scenario.Scenario, l *layout, loops int) error {
	var top float64
	for i := range sc.Phases {
		top = max(top, sc.Phases[i].Rate.From, sc.Phases[i].Rate.To)
	}
	if top > maxSends*float64(loops) {
		return usageError(fmt.Sprintf("a rate of %.0f messages/s is above what %d loops of this tool can send (%d each): lower it, or raise --loops",
			top, loops, maxSends))
	}
	p := plan{layout: l, talkers: share{sc.Talkers.Number, sc.Talkers.Fraction}, byMember: sc.Talk == "members"}
	if out := top * p.listeners(); out > maxReceives*float64(loops) {
		return usageError(fmt.Sprintf("%.0f messages/s to rooms of %.0f are %.0f deliveries/s, above what %d loops of this tool can receive (%d each): lower the rate, or raise --loops",
			top, p.listeners(), out, loops, maxReceives))
	}
	return nil
}

// tokenSecret is where the secret of the server's HS256 key may stand.
const tokenSecret = "LOADGEN_TOKEN_SECRET"

func tokensOf(t *scenario.Tokens) (*tokens, error) {
	if t == nil {
		return nil, nil
	}
	secret := []byte(os.Getenv(tokenSecret))
	if t.SecretFile != "" {
		var err error
		if secret, err = os.ReadFile(t.SecretFile); err != nil {
			return nil, usageError("tokens.secret_file: " + err.Error())
		}
		secret = []byte(strings.TrimSpace(string(secret)))
	}
	if len(secret) == 0 {
		return nil, usageError("the scenario connects with tokens: give the secret of the server's HS256 key in $" + tokenSecret + ", or tokens.secret_file")
	}
	return &tokens{secret, t.TTL.Value}, nil
}

// talk begins to publish, on one schedule through all phases, at a time that
// may still have to come.
func (p *player) talk(at int64) {
	var segments []pace.Segment
	for i := range p.sc.Phases {
		ph := &p.sc.Phases[i]
		segments = append(segments, pace.Segment{For: ph.For.Value, From: ph.Rate.From, To: ph.Rate.To})
	}
	f := p.fleet
	p.start = max(at, f.clock.now())
	f.forget(p.start, p.end(0, p.start))
	p.tell.began, p.tell.total = p.start, p.sc.Total()
	schedule := &plan{Pacer: pace.New(segments...), start: p.start, layout: &f.layout,
		talkers: share{p.sc.Talkers.Number, p.sc.Talkers.Fraction}}
	if s := p.env.shift; s != nil {
		schedule.dealt = s.job.Rooms
	}
	switch {
	case p.env.shift != nil && p.env.shift.job.shares():
		schedule.weigh(func(r int) int { return schedule.dealt[r].Weight })
	case p.sc.Talk == "members":
		schedule.weigh(schedule.talkersOf)
	}
	if schedule.Count() > 0 {
		f.talk(schedule)
	}
	if rate := p.sc.HistoryRate; rate > 0 {
		f.scroll(&plan{Pacer: pace.Even(rate, int64(rate*p.sc.Total().Seconds())), start: p.start, layout: &f.layout})
	}
}

// through goes through the phases. It returns the server's usage and the
// counts at the ends of what is measured.
func (p *player) through() (cpuFrom, cpuTo report.Usage, from, to report.Snapshot) {
	f := p.fleet
	at := p.start
	before := f.counts()
	measuring := false
	for i := range p.sc.Phases {
		ph := &p.sc.Phases[i]
		if ph.Measured() && !measuring {
			measuring, cpuFrom, from = true, p.server(), before
		}
		at += int64(ph.For.Value)
		p.tell.phase = ph.Name
		done := p.begin(ph, at)
		now, interrupted := p.hold(time.Duration(at - f.clock.now()))
		if err := done(); err != nil {
			p.report.Expect(fmt.Sprintf("%s: %v", ph.Name, err))
		}
		if ph.Measured() {
			cpuTo, to = p.server(), now
		}
		p.phases = append(p.phases, report.Phase{Name: ph.Name, Measured: ph.Measured(), From: ph.Rate.From, To: ph.Rate.To, Messages: *report.NewMessages(&before, &now, nil)})
		if interrupted || i == len(p.sc.Phases)-1 || p.deserted(&now) {
			break
		}
		p.time(f.phase(p.end(i+1, at)))
		before = now
	}
	return cpuFrom, cpuTo, from, to
}

// end is when a phase ends that begins at a time. The last one goes on for as long
// as something comes.
func (p *player) end(phase int, from int64) int64 {
	if phase == len(p.sc.Phases)-1 {
		return math.MaxInt64
	}
	return from + int64(p.sc.Phases[phase].For.Value)
}

// time writes down the latencies of the last phase but one: what was due in it
// and has not come in all of the phase behind it counts as lost or not, but no
// longer as late.
func (p *player) time(t report.Times) {
	i := len(p.phases) - 2
	if i < 0 {
		return
	}
	ph := &p.phases[i]
	ph.Messages.Times(&t)
	p.phaseTimes = append(p.phaseTimes, t)
	if ph.Measured {
		p.all.Merge(&t)
	}
}

// sum closes the phases' books.
func (p *player) sum(from, to *report.Snapshot) {
	rest := p.fleet.recorded()
	p.time(rest.before)
	p.phases = append(p.phases, report.Phase{}) // so that the last is the last but one
	p.time(rest.now)
	p.phases = p.phases[:len(p.phases)-1]
	p.report.Phases = p.phases
	p.times = &p.all
	p.report.Messages = report.NewMessages(from, to, &p.all)
	p.report.Messages.Payload = float64(p.sc.Payload.Least+p.sc.Payload.Most) / 2
}

// begin starts the action of a phase that goes on until end, and returns what waits for
// it.
func (p *player) begin(ph *scenario.Phase, end int64) (done func() error) {
	done = func() error { return nil }
	a := ph.Do
	if a == nil {
		return done
	}
	part := func(s scenario.Share) float64 {
		if s.Number > 0 {
			return float64(s.Number) / float64(p.fleet.crew)
		}
		return s.Fraction
	}
	for what, share := range map[choreKind]scenario.Share{cuts: a.Cut, silences: a.Silence, stalls: a.Stall} {
		if share.Given() {
			p.fleet.strike(what, part(share), a.Over.Value, a.For.Value, end, p.rounds)
		}
	}
	if len(a.Command) > 0 {
		done = command(p.env, a.Command, p.rounds)
	}
	p.rounds++
	return done
}

// scenariosCmd is `scenarios`.
type scenariosCmd struct {
	Name string `arg:"" optional:"" help:"The one to show."`
}

// Run is kong's entry.
func (c *scenariosCmd) Run(env environment) error {
	if c.Name != "" {
		text, err := scenario.Text(c.Name)
		if err != nil {
			return usageError(err.Error())
		}
		_, err = env.stdout.Write(text)
		return err
	}
	t := report.NewTable(env.stdout)
	for _, name := range scenario.Names() {
		text, err := scenario.Text(name)
		if err != nil {
			return err
		}
		sc, err := scenario.Parse(text)
		if err != nil {
			return err
		}
		t.Row(name, sc.About)
	}
	return t.Flush()
}
