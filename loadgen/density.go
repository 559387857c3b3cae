package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/check"
	"github.com/hubbub-chat/hubbub/loadgen/report"
)

// densityCmd is the scenario `density`: what a connection costs at rest. It
// wants a server that was just started: one that has had more connections
// before has the memory for them already.
type densityCmd struct {
	target
	Steps        []int         `help:"Numbers of connections to measure at, rising (default ${default})." default:"4000,8000,12000,18000" placeholder:"N" json:"steps"`
	Members      int           `help:"Members of a room (default ${default})." default:"100" json:"members"`
	RoomMessages int           `help:"Messages published to each room at the end, to measure what a room with its newest messages takes; 0: none (default ${default})." default:"100" json:"room_messages"`
	Payload      int           `help:"Bytes of such a message's data, 96 at least (default ${default})." default:"200" json:"payload"`
	Settle       time.Duration `help:"Wait after each step before memory is read (default ${default})." default:"3s" json:"settle_ns"`
	MetricsURL   string        `help:"Prometheus address of the server, for its Go heap in use." placeholder:"URL" name:"metrics-url" json:"metrics_url,omitempty"`
}

func (d *densityCmd) check() error {
	switch {
	case d.ServerPid == 0:
		return usageError("density needs --server-pid")
	case len(d.Steps) == 0 || d.Steps[0] < 1 || !slices.IsSorted(d.Steps) || len(slices.Compact(slices.Clone(d.Steps))) != len(d.Steps):
		return usageError("--steps must be rising numbers above 0")
	case d.Members < 1:
		return usageError("--members must be above 0")
	case d.RoomMessages < 0 || d.RoomMessages > 100_000:
		return usageError("--room-messages must be from 0 to 100,000")
	case d.Payload < check.MinPayload || d.Payload > 1<<20:
		return usageError(fmt.Sprintf("--payload must be from %d to %d bytes", check.MinPayload, 1<<20))
	case d.Settle < 0:
		return usageError("--settle must not be below 0")
	}
	return nil
}

// Run is kong's entry.
func (d *densityCmd) Run(env environment) error {
	if err := d.check(); err != nil {
		return err
	}
	if d.MetricsURL != "" && goHeap(env.ctx, d.MetricsURL) == 0 {
		return usageError("--metrics-url " + d.MetricsURL + ": there is no go_memstats_heap_inuse_bytes to be read")
	}
	last := d.Steps[len(d.Steps)-1]
	l := blocks(last, d.Members)
	s, err := newSession(env, &d.target, "density", d, l, check.Exactly(d.Payload))
	if err != nil {
		return err
	}
	part := &report.Density{}
	s.report.Density = part
	part.Steps = append(part.Steps, d.read(s, 0, nil))
	first := 0
	for _, n := range d.Steps {
		if s.join(first, n) != nil {
			break
		}
		if _, interrupted := s.hold(d.Settle); interrupted {
			break
		}
		part.Steps = append(part.Steps, d.read(s, n, &part.Steps[len(part.Steps)-1]))
		first = n
	}
	end := s.server()
	if first == last && d.RoomMessages > 0 && !s.report.Interrupted {
		part.Rooms = d.fill(s, &l)
	}
	return s.finish(func(r *report.Report) {
		if part.Sum(); len(part.Steps) < 2 {
			r.Faults = append(r.Faults, "density: nothing was measured")
		}
		r.Connections.Wanted = max(first, int(r.Connections.Joined))                  // the steps that were taken
		r.Server = report.NewServer(s.began, end, report.Usage{CPU: end.CPU}, end, r) // nothing is measured
		part.CPUPerConnect = r.Server.PerConnect
	})
}

// read measures one step.
func (d *densityCmd) read(s *session, n int, before *report.DensityStep) report.DensityStep {
	step := report.DensityStep{Conns: n, RSSAnon: s.server().RSSAnon, Own: ownUsage().RSSAnon, Slab: kernelSlab()}
	if d.MetricsURL != "" {
		step.Heap = goHeap(s.env.ctx, d.MetricsURL)
	}
	if before != nil {
		step.PerConn = (step.RSSAnon - before.RSSAnon) / report.Figure(n-before.Conns)
	}
	return step
}

// goHeap is the Go heap in use by the process behind a Prometheus address, 0
// when it cannot be had.
func goHeap(ctx context.Context, address string) int64 {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	for line := range bytes.Lines(body) {
		if rest, ok := bytes.CutPrefix(line, []byte("go_memstats_heap_inuse_bytes ")); ok {
			v, _ := strconv.ParseFloat(string(bytes.TrimSpace(rest)), 64)
			return int64(v)
		}
	}
	return 0
}
