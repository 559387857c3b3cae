package main

import (
	"fmt"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/check"
	"github.com/hubbub-chat/hubbub/loadgen/scenario"
)

// runCmd is `run`: a scenario of one rate, made of flags.
type runCmd struct {
	target
	witnesses
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
	CountOnly    bool          `help:"Count messages, and decode them on one connection of a room in SAMPLE only: for throughput." json:"count_only"`
	Sample       int           `help:"With --count-only: how many connections one is decoded of (default ${default})." default:"100" json:"sample"`
}

func (r *runCmd) check() error {
	switch {
	case r.Connections < 1:
		return usageError("--connections must be above 0")
	case r.Rooms < 1 || r.Rooms > r.Connections:
		return usageError("--rooms must be from 1 to --connections")
	case r.Payload < check.MinPayload || r.Payload > 1<<20:
		return usageError(fmt.Sprintf("--payload must be from %d to %d bytes", check.MinPayload, 1<<20))
	case r.Rate < 0 || r.Rate > 1e7:
		return usageError("--rate must be from 0 to 10,000,000 messages/s")
	case r.Talkers < 0:
		return usageError("--talkers must not be below 0")
	case r.Warmup < 0 || r.Drain < 0 || r.Duration <= 0:
		return usageError("--duration must be above 0, --warmup and --drain not below")
	case r.Sample < 1:
		return usageError("--sample must be above 0")
	case r.CountOnly && (r.Reconnect || r.wanted()):
		return usageError("--count-only knows no offsets, which --reconnect, --history, --mysql and --acked-file want")
	case r.Reconnect && (r.ReconnectMin <= 0 || r.ReconnectMax < r.ReconnectMin):
		return usageError("--reconnect-min must be above 0, --reconnect-max not below it")
	case r.HistoryWait < 0:
		return usageError("--history-wait must not be below 0")
	}
	return nil
}

// scenario is the flags as a scenario.
func (r *runCmd) scenario() *scenario.Scenario {
	rate := scenario.Rate{From: r.Rate, To: r.Rate}
	sc := &scenario.Scenario{
		Name: "run", Connections: r.Connections, Rooms: scenario.Rooms{Count: r.Rooms}, ConnectRate: r.ConnectRate,
		Talkers: scenario.Share{Number: r.Talkers}, Payload: scenario.Range{Least: r.Payload, Most: r.Payload},
		Drain: scenario.Duration{Value: r.Drain},
	}
	if r.CountOnly {
		sc.CountOnly = r.Sample
	}
	if r.Reconnect {
		sc.Reconnect = &scenario.Backoff{Min: scenario.Duration{Value: r.ReconnectMin}, Max: scenario.Duration{Value: r.ReconnectMax}}
	}
	if r.Warmup > 0 {
		sc.Phases = append(sc.Phases, scenario.Phase{Name: "warm up", For: scenario.Duration{Value: r.Warmup}, Rate: rate, Measure: new(bool)})
	}
	sc.Phases = append(sc.Phases, scenario.Phase{Name: "measure", For: scenario.Duration{Value: r.Duration}, Rate: rate})
	return sc
}

// Run is kong's entry.
func (r *runCmd) Run(env environment) error {
	if err := r.check(); err != nil {
		return err
	}
	return play(env, &r.target, &r.witnesses, r.scenario(), r)
}
