package main

import (
	"fmt"

	"github.com/hubbub-chat/hubbub/loadgen/capacity"
	"github.com/hubbub-chat/hubbub/loadgen/report"
)

// planCmd is `plan`: from reports and a target to a number of nodes.
// docs/capacity.md explains the model.
type planCmd struct {
	Reports   []string    `arg:"" help:"Reports as --json writes them, with --server-pid: one of density, and runs of different fan-out (many small rooms, one large), from which the cost of a message and of a delivery are told apart." json:"reports"`
	Users     float64     `required:"" help:"Users connected at once." json:"users"`
	Rooms     float64     `required:"" help:"Rooms; each has USERS/ROOMS members." json:"rooms"`
	Rate      float64     `required:"" short:"r" help:"Messages published a second, in all rooms together." json:"rate"`
	Payload   float64     `default:"200" help:"Bytes of a message's data (default ${default})." json:"payload"`
	Cores     float64     `name:"node-cores" default:"2" help:"CPU cores of a node (default ${default})." json:"node_cores"`
	MemoryGB  float64     `name:"node-memory" default:"4" help:"Memory of a node, GB (default ${default})." json:"node_memory_gb"`
	Files     float64     `name:"node-files" default:"1000000" help:"Open files of a process (default ${default})." json:"node_files"`
	Mbit      float64     `name:"node-network" default:"1000" help:"What a node can send, Mbit/s (default ${default})." json:"node_network_mbit"`
	Load      float64     `default:"0.6" help:"Highest load of a node's cores in a busy second, one node lost: 0 to 1 (default ${default})." json:"load"`
	Back      float64     `name:"reconnect" default:"30" help:"Seconds in which the users of a lost node should be in again; 0: no matter (default ${default})." json:"reconnect_s"`
	RoomBytes float64     `name:"room-bytes" help:"Bytes of a room with its newest messages on a node, instead of what the report of density has." placeholder:"N" json:"room_bytes,omitempty"`
	JSON      report.File `name:"json" help:"Write the plan to this file too, as JSON." placeholder:"FILE" json:"-"`
}

func (c *planCmd) target() capacity.Target {
	return capacity.Target{
		Users: c.Users, Rooms: c.Rooms, Messages: c.Rate, Payload: c.Payload, Reconnect: c.Back,
		Cores: c.Cores, Memory: c.MemoryGB * 1e9, Files: c.Files, Network: c.Mbit * 1e6 / 8, Load: c.Load,
		Replicas: 3, RowBytes: 300,
	}
}

func (c *planCmd) check() error {
	switch {
	case c.Users < 1 || c.Rooms < 1 || c.Rooms > c.Users || c.Rate < 0 || c.Payload < 0:
		return usageError("--users and --rooms must be above 0, --rooms at most --users, --rate and --payload not below 0")
	case c.Cores <= 0 || c.MemoryGB <= 0 || c.Files < 1000 || c.Mbit <= 0:
		return usageError("--node-cores, --node-memory and --node-network must be above 0, --node-files at least 1000")
	case c.Load <= 0 || c.Load > 0.95:
		return usageError("--load must be above 0 and at most 0.95")
	case c.RoomBytes < 0:
		return usageError("--room-bytes must not be below 0")
	case c.Back < 0:
		return usageError("--reconnect must not be below 0")
	}
	return nil
}

// evidence is what reports tell of a server.
type evidence struct {
	capacity.Cost
	base    float64
	rooms   *report.DensityRooms // nil: none has them
	samples []capacity.Sample
	lines   []string // where each figure comes from
}

func (e *evidence) say(format string, args ...any) {
	e.lines = append(e.lines, fmt.Sprintf(format, args...))
}

// take reads one report.
func (e *evidence) take(file string) error {
	r, err := report.Load(file)
	if err != nil {
		return usageError(err.Error())
	}
	if len(r.Faults) > 0 {
		e.say("%s: its run FAILED (%s)", file, r.Faults[0])
	}
	if len(r.Invalid) > 0 {
		e.say("%s: its figures are INVALID (%s)", file, r.Invalid[0])
	}
	if d := r.Density; d != nil && d.BytesPerConn > 0 {
		e.PerConn = float64(d.BytesPerConn)
		if e.base = float64(d.BaseBytes); e.base == 0 && len(d.Steps) > 0 {
			e.base = float64(d.Steps[0].RSSAnon) // of an older report
		}
		e.say("%s: %.0f bytes a connection, %s without any", file, e.PerConn, report.Mib(int64(e.base)))
		if m := d.Rooms; m != nil && m.Messages() > 0 {
			e.rooms = m
			e.say("%s: %.0f bytes a room with %d messages of %d bytes", file, m.PerRoom, m.Messages(), m.Payload)
		}
	}
	s, m := r.Server, r.Messages
	if s != nil && s.PerConnect > 0 {
		if v := float64(s.PerConnect) / 1e6; v > e.PerConnect {
			e.PerConnect = v
			e.say("%s: %.0f µs of CPU to let a connection in", file, s.PerConnect)
		}
	}
	if s != nil && m != nil && s.MeasuredCPU > 0 && m.DeliveredRate > 0 {
		e.samples = append(e.samples, capacity.Sample{CPU: float64(s.MeasuredCPU), Messages: m.AckedRate * m.Seconds, Deliveries: m.DeliveredRate * m.Seconds})
		e.Overhead = max(e.Overhead, m.BytesRate/m.DeliveredRate-m.Payload)
		e.say("%s: %.2f CPU seconds for %.0f messages and %.0f deliveries", file, s.MeasuredCPU, m.AckedRate*m.Seconds, m.DeliveredRate*m.Seconds)
	}
	return nil
}

// Run is kong's entry.
func (c *planCmd) Run(env environment) error {
	if err := c.check(); err != nil {
		return err
	}
	var e evidence
	for _, file := range c.Reports {
		if err := e.take(file); err != nil {
			return err
		}
	}
	var err error
	if e.PerMessage, e.PerDeliver, err = capacity.Fit(e.samples); err != nil {
		return usageError("reports: " + err.Error() + " (run with --server-pid, on Linux)")
	}
	if e.PerConn == 0 {
		return usageError("reports: none has the memory of a connection: give one of density, measured on Linux")
	}
	if c.Back > 0 && e.PerConnect == 0 {
		return usageError("reports: none has the CPU of a connect: give one with --server-pid, measured on Linux, or --reconnect 0")
	}
	if err := c.perRoom(&e); err != nil {
		return err
	}
	target := c.target()
	target.Base = e.base
	p := capacity.Make(target, e.Cost)
	t := report.NewTable(env.stdout)
	c.write(t, &e, &p)
	if c.JSON != "" {
		if err := c.JSON.WriteJSON(map[string]any{"target": target, "cost": e.Cost, "plan": p}); err != nil {
			return err
		}
	}
	return t.Flush()
}

// perRoom finds what a room takes. Its messages are of the size that is planned for.
func (c *planCmd) perRoom(e *evidence) error {
	switch {
	case c.RoomBytes > 0:
		e.PerRoom = c.RoomBytes
	case e.rooms != nil:
		e.PerRoom = max(0, float64(e.rooms.PerRoom)+float64(e.rooms.Messages())*(c.Payload-float64(e.rooms.Payload)))
	default:
		return usageError("reports: none has the memory of a room: measure density again (--room-messages), or give --room-bytes")
	}
	return nil
}

func (c *planCmd) write(t report.Table, e *evidence, p *capacity.Plan) {
	for i, line := range e.lines {
		name := ""
		if i == 0 {
			name = "measured"
		}
		t.Row(name, line)
	}
	t.Row("so", fmt.Sprintf("a message costs %.1f µs of CPU, each delivery %.2f µs, and %.0f bytes go out beside its data",
		e.PerMessage*1e6, e.PerDeliver*1e6, e.Overhead))
	t.Row("", fmt.Sprintf("a node takes %s, a connection %.0f bytes, a room %.0f on every node that has a member of it",
		report.Mib(int64(e.base)), e.PerConn, e.PerRoom))
	t.Row("wanted", fmt.Sprintf("%.0f users in %.0f rooms, %.0f messages/s to %.0f members each: %.0f deliveries/s", c.Users, c.Rooms, c.Rate, p.Listeners, p.Deliveries))
	t.Row("nodes", fmt.Sprintf("%d, of which one may be lost; what asks for them: %s", p.Nodes, p.Limit),
		fmt.Sprintf("(CPU asks for %d, memory %d, open files %d, network %d)", p.ByCPU, p.ByMem, p.ByFiles, p.ByNet))
	for _, n := range []struct {
		name string
		capacity.Node
	}{{"a node", p.PerNode}, {"with one lost", p.Lost}} {
		t.Row(n.name, fmt.Sprintf("%.0f users of %.0f rooms, %.0f deliveries/s, %.2f of %g cores, %s of memory, %.0f open files, %.1f Mbit/s",
			n.Users, n.Rooms, n.Deliveries, n.CPU, c.Cores, report.Mib(int64(n.Memory)), n.Files, n.Network*8/1e6))
	}
	t.Row("losing one", fmt.Sprintf("%.1f CPU seconds, of all that are left together, to let its users in again", p.ReconnectCPU))
	t.Row("Redis", fmt.Sprintf("%.0f calls/s, %.1f Mbit/s to the nodes", p.RedisCalls, p.RedisOut*8/1e6))
	t.Row("Kafka", fmt.Sprintf("%.0f records/s, %.1f Mbit/s written with three copies", p.Kafka, p.KafkaBytes*8/1e6))
	t.Row("MySQL", fmt.Sprintf("%.0f rows/s in up to %.0f commits/s, %.1f GB a day", p.Rows, p.Commits, p.DiskPerDay/1e9))
}
