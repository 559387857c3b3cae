// Package capacity says how many nodes a number of users wants, from figures
// that were measured. docs/capacity.md explains the model; the functions here
// are its formulas and nothing else.
package capacity

import (
	"errors"
	"math"
	"sort"
)

// Cost is what a server was measured to need.
type Cost struct {
	PerConn    float64 `json:"bytes_per_connection"`      // resident
	PerRoom    float64 `json:"bytes_per_room"`            // resident, on every node that has a member of it
	PerConnect float64 `json:"cpu_s_per_connect"`         // CPU seconds to let one in
	PerMessage float64 `json:"cpu_s_per_message"`         // CPU seconds to take, store and acknowledge one
	PerDeliver float64 `json:"cpu_s_per_delivery"`        // CPU seconds to hand it to one member
	Overhead   float64 `json:"bytes_per_delivery_beside"` // that go out with a message beside its data
}

// Sample is one measured run, from which costs are drawn.
type Sample struct {
	CPU        float64 // CPU seconds of the server
	Messages   float64
	Deliveries float64
}

// ErrNoFigures says that there is nothing to reckon with.
var ErrNoFigures = errors.New("no run with the server's CPU was given")

// Fit finds what a message and a delivery cost: the two non-negative numbers
// that come nearest to all samples, each sample weighed by its own size. One
// sample, or several of one kind, cannot tell the two apart; then everything
// is the deliveries'.
func Fit(samples []Sample) (perMessage, perDelivery float64, err error) {
	var mm, md, dd, mc, dc float64
	for _, s := range samples {
		if s.CPU <= 0 || s.Deliveries <= 0 {
			continue
		}
		// Divided by the CPU, so that each sample's error counts in proportion.
		m, d := s.Messages/s.CPU, s.Deliveries/s.CPU
		mm, md, dd, mc, dc = mm+m*m, md+m*d, dd+d*d, mc+m, dc+d
	}
	if dd == 0 {
		return 0, 0, ErrNoFigures
	}
	if det := mm*dd - md*md; det > 1e-6*mm*dd {
		perMessage, perDelivery = (mc*dd-dc*md)/det, (dc*mm-mc*md)/det
	}
	switch {
	case perDelivery <= 0 && perMessage > 0:
		return mc / mm, 0, nil
	case perMessage <= 0 || perDelivery <= 0:
		return 0, dc / dd, nil
	}
	return perMessage, perDelivery, nil
}

// Target is what is wanted.
type Target struct {
	Users     float64 `json:"users" yaml:"users"`                // connected at once
	Rooms     float64 `json:"rooms" yaml:"rooms"`                // each with users/rooms members
	Messages  float64 `json:"messages_per_s" yaml:"messages"`    // published a second, in all
	Payload   float64 `json:"payload_bytes" yaml:"payload"`      // data of a message
	Reconnect float64 `json:"reconnect_s" yaml:"reconnect"`      // the users of a lost node should be back within
	Cores     float64 `json:"node_cores" yaml:"cores"`           // of a node
	Memory    float64 `json:"node_memory_bytes" yaml:"memory"`   // of a node
	Files     float64 `json:"node_files" yaml:"files"`           // open files of a process
	Network   float64 `json:"node_bytes_per_s" yaml:"network"`   // a node can send
	Load      float64 `json:"highest_load" yaml:"load"`          // of a node's cores in a busy second, 0 to 1
	Base      float64 `json:"node_base_bytes" yaml:"base"`       // memory of a node that nobody is connected to
	Replicas  float64 `json:"kafka_replicas" yaml:"replicas"`    // copies of a record in Kafka
	RowBytes  float64 `json:"row_bytes_beside" yaml:"row_bytes"` // of a stored message beside its data, its index included
}

// usable is the part of a node's memory that the server may take: the kernel's socket
// buffers want the rest.
const usable = 0.8

// spareFiles are the descriptors of a node that are not its clients'.
const spareFiles = 256

// Plan is the answer.
type Plan struct {
	Nodes   int    `json:"nodes"`  // with one of them lost, the others bear everything
	Limit   string `json:"limit"`  // the resource that asks for the most nodes
	ByCPU   int    `json:"by_cpu"` // nodes that each resource asks for, without a spare one
	ByMem   int    `json:"by_memory"`
	ByFiles int    `json:"by_files"`
	ByNet   int    `json:"by_network"`

	Listeners  float64 `json:"deliveries_per_message"`
	Deliveries float64 `json:"deliveries_per_s"`
	PerNode    Node    `json:"a_node"` // all nodes there
	Lost       Node    `json:"a_node_with_one_lost"`

	ReconnectCPU float64 `json:"cpu_s_to_take_over"` // of all nodes that are left, to let a lost one's users in
	RedisCalls   float64 `json:"redis_calls_per_s"`
	RedisOut     float64 `json:"redis_bytes_per_s"` // to the nodes
	Kafka        float64 `json:"kafka_records_per_s"`
	KafkaBytes   float64 `json:"kafka_bytes_per_s"` // written by all brokers together
	Rows         float64 `json:"mysql_rows_per_s"`
	Commits      float64 `json:"mysql_commits_per_s"` // at most
	DiskPerDay   float64 `json:"mysql_bytes_per_day"`
}

// Node is what one node does.
type Node struct {
	Users      float64 `json:"users"`
	Rooms      float64 `json:"rooms"` // that it has members of
	Messages   float64 `json:"messages_per_s"`
	Deliveries float64 `json:"deliveries_per_s"`
	CPU        float64 `json:"cores_busy"`
	Memory     float64 `json:"memory_bytes"`
	Files      float64 `json:"files"`
	Network    float64 `json:"bytes_per_s"`
}

// A writer commits what came in so long, or so many rows, whichever is first.
const (
	commitEvery = 0.02 // seconds
	commitRows  = 500
)

// Make reckons.
func Make(t Target, c Cost) Plan {
	p := Plan{Listeners: t.Users / t.Rooms}
	p.Deliveries = t.Messages * p.Listeners
	all := p.node(&t, &c, 1)
	ceil := func(v float64) int { return max(1, int(math.Ceil(v-1e-9))) }
	p.ByCPU = ceil(all.CPU / (t.Cores * t.Load))
	p.ByMem = p.byMemory(&t, &c)
	p.ByFiles = ceil(t.Users / max(1, t.Files-spareFiles))
	p.ByNet = ceil(all.Network / t.Network)
	for _, by := range []struct {
		n    int
		name string
	}{{p.ByCPU, "CPU"}, {p.ByMem, "memory"}, {p.ByFiles, "open files"}, {p.ByNet, "network"}} {
		if by.n > p.Nodes {
			p.Nodes, p.Limit = by.n, by.name
		}
	}
	left := p.Nodes
	// The users of a lost node come back at once; the others must have the
	// CPU for it beside what they do anyway.
	for {
		p.ReconnectCPU = t.Users / float64(left+1) * c.PerConnect
		free := float64(left)*t.Cores - all.CPU
		if t.Reconnect <= 0 || free > 0 && p.ReconnectCPU/free <= t.Reconnect {
			break
		}
		left++
		p.Limit = "CPU, to let the users of a lost node in again in time"
	}
	p.Nodes = left + 1
	p.PerNode, p.Lost = p.node(&t, &c, float64(p.Nodes)), p.node(&t, &c, float64(left))
	p.backends(&t)
	return p
}

// mostNodes is where looking for a number of nodes ends: no number is enough where a
// node has no room for itself.
const mostNodes = 1 << 20

// byMemory is the least number of nodes that have room for everything. A room is on
// every node that has a member of it, so it is not in proportion.
func (p *Plan) byMemory(t *Target, c *Cost) int {
	fits := func(n int) bool { return p.node(t, c, float64(n)).Memory <= t.Memory*usable }
	return 1 + sort.Search(mostNodes-1, func(i int) bool { return fits(1 + i) })
}

// told is how many of n nodes have members of a room, when these sit anywhere.
func (p *Plan) told(n float64) float64 { return n * (1 - math.Pow(1-1/n, p.Listeners)) }

// node is one of n nodes among which everything is even.
func (p *Plan) node(t *Target, c *Cost, n float64) Node {
	rooms := t.Rooms * p.told(n) / n
	return Node{
		Users: t.Users / n, Rooms: rooms, Messages: t.Messages / n, Deliveries: p.Deliveries / n,
		CPU:     (t.Messages*c.PerMessage + p.Deliveries*c.PerDeliver) / n,
		Memory:  t.Base + t.Users*c.PerConn/n + rooms*c.PerRoom,
		Files:   t.Users/n + spareFiles,
		Network: p.Deliveries * (t.Payload + c.Overhead) / n,
	}
}

// backends: a message is one call of Redis, which tells every node that has
// members of the room; one record of Kafka; one row.
func (p *Plan) backends(t *Target) {
	told := p.told(float64(p.Nodes))
	p.RedisCalls = t.Messages
	p.RedisOut = t.Messages * told * (t.Payload + recordBytes)
	p.Kafka = t.Messages
	p.KafkaBytes = t.Messages * (t.Payload + recordBytes) * t.Replicas
	p.Rows = t.Messages
	p.Commits = min(t.Messages, max(1/commitEvery, t.Messages/commitRows))
	p.DiskPerDay = t.Messages * (t.Payload + t.RowBytes) * 86400
}

// recordBytes are what a message takes on its way between servers beside its
// data: room, offsets, epoch, user, client.
const recordBytes = 200
