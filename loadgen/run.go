package main

import (
	"fmt"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/rows"
)

// runCmd is the scenario `run`: rooms that talk.
type runCmd struct {
	target
	Connections  int           `help:"Connections to hold (default ${default})." default:"1000" short:"c" json:"connections"`
	Rooms        int           `help:"Rooms; connection i joins room i mod ROOMS (default ${default})." default:"10" json:"rooms"`
	Rate         float64       `help:"Messages published a second, in all rooms together; 0: none (default ${default})." default:"100" short:"r" json:"rate"`
	Talkers      int           `help:"Members of a room that publish, in turn; 0: all (default ${default})." default:"0" json:"talkers"`
	Payload      int           `help:"Bytes of a message's data, 96 at least (default ${default})." default:"200" json:"payload"`
	Warmup       time.Duration `help:"Time of publishing before it is measured (default ${default})." default:"2s" json:"warmup_ns"`
	Duration     time.Duration `help:"Time measured (default ${default})." default:"10s" short:"d" json:"duration_ns"`
	Drain        time.Duration `help:"How long to wait at the end for what was published (default ${default})." default:"5s" json:"drain_ns"`
	Reconnect    bool          `help:"Clients whose connection ends come back, to the next address, and recover what they missed." negatable:"" json:"reconnect"`
	ReconnectMin time.Duration `help:"Longest wait before the first attempt to come back; each that fails doubles it (default ${default})." default:"200ms" json:"reconnect_min_ns"`
	ReconnectMax time.Duration `help:"Longest wait at all (default ${default})." default:"5s" json:"reconnect_max_ns"`
	History      bool          `help:"Read every room's history at the end and compare it with what was acknowledged." negatable:"" json:"history"`
	HistoryWait  time.Duration `help:"How long the history may take to have everything (default ${default})." default:"10s" json:"history_wait_ns"`
	MySQL        string        `name:"mysql" env:"LOADGEN_MYSQL" help:"Compare the rows of this database with what was acknowledged, too (user:password@tcp(host:port)/name)." placeholder:"DSN" json:"-"`
	AckedFile    string        `name:"acked-file" help:"Write what was acknowledged there at the end: a line of room, tab, offset each." placeholder:"FILE" json:"acked_file,omitempty"`
	CountOnly    bool          `help:"Count messages, and decode them on one connection of a room in SAMPLE only: for throughput." json:"count_only"`
	Sample       int           `help:"With --count-only: how many connections one is decoded of (default ${default})." default:"100" json:"sample"`
}

func (r *runCmd) layout() layout {
	l := layout{conns: r.Connections, rooms: r.Rooms, sample: 1}
	if r.CountOnly {
		l.sample = r.Sample
	}
	return l
}

func (r *runCmd) check() error {
	switch {
	case r.Rooms < 1 || r.Rooms > r.Connections:
		return usageError("--rooms must be from 1 to --connections")
	case r.Payload < minPayload || r.Payload > 1<<20:
		return usageError(fmt.Sprintf("--payload must be from %d to %d bytes", minPayload, 1<<20))
	case r.Rate < 0 || r.Rate > 1e7:
		return usageError("--rate must be from 0 to 10,000,000 messages/s")
	case r.Talkers < 0:
		return usageError("--talkers must not be below 0")
	case r.Warmup < 0 || r.Drain < 0 || r.Duration <= 0:
		return usageError("--duration must be above 0, --warmup and --drain not below")
	case r.Sample < 1:
		return usageError("--sample must be above 0")
	case r.CountOnly && (r.Reconnect || r.keepsAcked()):
		return usageError("--count-only knows no offsets, which --reconnect, --history, --mysql and --acked-file want")
	case r.Reconnect && (r.ReconnectMin <= 0 || r.ReconnectMax < r.ReconnectMin):
		return usageError("--reconnect-min must be above 0, --reconnect-max not below it")
	case r.HistoryWait < 0:
		return usageError("--history-wait must not be below 0")
	}
	return nil
}

func (r *runCmd) keepsAcked() bool { return r.History || r.MySQL != "" || r.AckedFile != "" }

// configure tells the fleet what the run wants of it.
func (r *runCmd) configure(cfg *fleetConfig) {
	cfg.keepAcked = r.keepsAcked()
	if r.Reconnect {
		cfg.comeback = backoff{r.ReconnectMin, r.ReconnectMax}
	}
}

// Run is kong's entry.
func (r *runCmd) Run(env environment) error {
	if err := r.check(); err != nil {
		return err
	}
	var db *rows.DB
	if r.MySQL != "" {
		var err error
		if db, err = rows.Open(env.ctx, r.MySQL); err != nil {
			return usageError("--mysql: " + err.Error())
		}
		defer db.Close() //nolint:errcheck // it was only read
	}
	s, err := newSession(env, &r.target, "run", r, r.layout(), r.Payload, r.configure)
	if err != nil {
		return err
	}
	s.db = db
	if s.join(0, r.Connections) != nil {
		return s.finish(nil)
	}
	connected := s.server()

	// The measured time is that of the plan; the counts at its ends are
	// taken by a clock of ours and divided by the time between them.
	start := s.fleet.clock.now()
	since := start + int64(r.Warmup)
	s.fleet.forget(since)
	if r.Rate > 0 {
		count := int64(r.Rate * (r.Warmup + r.Duration).Seconds())
		s.fleet.talk(&plan{pacer: pacer{r.Rate, count}, start: start, layout: r.layout(), talkers: r.Talkers})
	}
	from, interrupted := s.hold(r.Warmup)
	cpu := s.server()
	to := from
	if !interrupted {
		to, _ = s.hold(time.Duration(since + int64(r.Duration) - s.fleet.clock.now()))
	}
	end := s.server()
	s.drain(r.Drain)

	s.report.Messages = newMessages(&from, &to, s.fleet.recorded())
	s.report.Check = s.checked(r.layout().sample)
	if err := r.afterwards(s); err != nil {
		return err
	}
	return s.finish(func(rep *report) {
		if r.ServerPid > 0 {
			rep.Server = newServer(s.began, connected, cpu, end, rep)
		}
	})
}

// afterwards looks for what was acknowledged where it should be kept.
func (r *runCmd) afterwards(s *session) error {
	if r.AckedFile != "" {
		if err := writeAcked(r.AckedFile, s.fleet.rooms); err != nil {
			return err
		}
	}
	if r.History {
		s.report.History = new(historyPart)
		s.report.History.read(s.env.ctx, s.fleet, r.HistoryWait)
	}
	if s.db != nil {
		s.report.Rows = new(kept)
		s.report.Rows.readRows(s.env.ctx, s.fleet, s.db, r.HistoryWait)
	}
	return nil
}

// newServer puts the server's usage at the phases' ends in relation to what
// it did in them.
func newServer(began, connected, from, to usage, r *report) *server {
	v := &server{
		ConnectCPU:  (connected.CPU - began.CPU).Seconds(),
		MeasuredCPU: max(0, (to.CPU - from.CPU).Seconds()), // it may have died
		RSS:         to.RSS, RSSAnon: to.RSSAnon, RSSAnonBefore: began.RSSAnon,
	}
	if n := r.Connections.Joined; n > 0 {
		v.PerConnect = v.ConnectCPU / float64(n) * 1e6
	}
	if m := r.Messages; m != nil && v.MeasuredCPU > 0 {
		v.PerCPUSecond = m.DeliveredRate * m.Seconds / v.MeasuredCPU
		v.CPUPercent = v.MeasuredCPU / m.Seconds * 100
	}
	return v
}
