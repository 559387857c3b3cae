package capacity

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func near(got, want float64) bool { return math.Abs(got-want) <= 1e-6*max(1, math.Abs(want)) }

func TestFit(t *testing.T) {
	at := func(messages, deliveries float64) Sample {
		return Sample{CPU: messages*20e-6 + deliveries*2e-6, Messages: messages, Deliveries: deliveries}
	}
	for _, c := range []struct {
		name             string
		samples          []Sample
		message, deliver float64
		err              error
	}{
		{"two kinds tell them apart", []Sample{at(1000, 10_000), at(100, 1_000_000)}, 20e-6, 2e-6, nil},
		{"more samples too", []Sample{at(1000, 10_000), at(500, 500), at(100, 1_000_000)}, 20e-6, 2e-6, nil},
		{"one kind does not", []Sample{{CPU: 4, Messages: 1000, Deliveries: 2e6}}, 0, 2e-6, nil},
		{"nor the same twice", []Sample{{CPU: 4, Messages: 1000, Deliveries: 2e6}, {CPU: 8, Messages: 2000, Deliveries: 4e6}}, 0, 2e-6, nil},
		{"no negative cost", []Sample{{CPU: 1, Messages: 1000, Deliveries: 1000}, {CPU: 1, Messages: 10, Deliveries: 2000}}, 0, 0, nil},
		{"nothing", nil, 0, 0, ErrNoFigures},
		{"no CPU", []Sample{{Messages: 5, Deliveries: 5}}, 0, 0, ErrNoFigures},
	} {
		m, d, err := Fit(c.samples)
		if err != c.err || m < 0 || d < 0 || c.message+c.deliver > 0 && (!near(m*1e6, c.message*1e6) || !near(d*1e6, c.deliver*1e6)) {
			t.Errorf("%s: %g, %g, %v", c.name, m, d, err)
		}
	}
}

var small = Target{Users: 300_000, Rooms: 3000, Messages: 1000, Payload: 200, Cores: 4, Memory: 8 << 30, Files: 100_000,
	Network: 125e6, Load: 0.6, Base: 50 << 20, Replicas: 3, RowBytes: 300}

var cost = Cost{PerConn: 1000, PerConnect: 60e-6, PerMessage: 50e-6, PerDeliver: 5e-6, Overhead: 100}

// roomy is cost with rooms that take memory, on every node that has a member.
var roomy = func() Cost { c := cost; c.PerRoom = 20_000; return c }()

func TestMake(t *testing.T) {
	for _, c := range []struct {
		name  string
		set   func(*Target)
		nodes int
		limit string
	}{
		{"open files", func(*Target) {}, 4 + 1, "open files"},
		{"CPU", func(t *Target) { t.Messages = 50_000 }, 12 + 1, "CPU"},
		{"memory", func(t *Target) { t.Files, t.Memory = 1e6, 128<<20 }, 6 + 1, "memory"},
		{"memory of rooms", func(t *Target) { t.Files, t.Rooms, t.Memory = 1e6, 30_000, 512<<20 }, 12 + 1, "memory"},
		{"network", func(t *Target) { t.Files, t.Network = 1e6, 5e6 }, 6 + 1, "network"},
		{"a laptop", func(t *Target) { t.Users, t.Rooms, t.Messages = 100, 10, 1 }, 1 + 1, "CPU"},
		{"quick to come back", func(t *Target) { t.Reconnect, t.Files = 0.1, 1e6 }, 7 + 1, "CPU, to let the users of a lost node in again in time"},
	} {
		target := small
		c.set(&target)
		with := cost
		if strings.Contains(c.name, "of rooms") {
			with = roomy
		}
		p := Make(target, with)
		if p.Nodes != c.nodes || p.Limit != c.limit {
			t.Errorf("%s: %d nodes for %s, want %d for %s: %+v", c.name, p.Nodes, p.Limit, c.nodes, c.limit, p)
		}
	}
	p := Make(small, cost)
	if p.Deliveries != 100_000 || p.RedisCalls != 1000 || p.Rows != 1000 || p.Commits != 50 || !near(p.KafkaBytes, 1000*400*3) ||
		!near(p.DiskPerDay, 1000*500*86400) || p.RedisOut > 1000*400*5 || p.RedisOut < 1000*400*4.9 {
		t.Errorf("%+v", p)
	}
}

// TestLostNodeIsBorne: whatever is asked for, the nodes that are left when one
// is lost have room for everything.
func TestLostNodeIsBorne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		target := small
		target.Users = rapid.Float64Range(1, 1e7).Draw(t, "users")
		target.Rooms = rapid.Float64Range(1, target.Users).Draw(t, "rooms")
		target.Messages = rapid.Float64Range(0, 1e5).Draw(t, "messages")
		target.Cores = rapid.Float64Range(1, 64).Draw(t, "cores")
		p := Make(target, roomy)
		n := p.Lost
		if p.Nodes < 2 || n.CPU > target.Cores*target.Load*1.0001 || n.Memory > target.Memory*0.8001 || n.Files > target.Files+1 || n.Network > target.Network*1.0001 {
			t.Fatalf("%+v", p)
		}
		more := target
		more.Users *= 2
		more.Rooms *= 2
		if Make(more, roomy).Nodes < p.Nodes {
			t.Fatalf("twice the users want %d nodes, once %d", Make(more, roomy).Nodes, p.Nodes)
		}
	})
}
