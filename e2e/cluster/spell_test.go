package cluster

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// TestHalfOpen: loadgen's scenario of that name. Some clients are lost by the network; a
// node finds their connections when a pong stays away, and forgets them, and nobody
// else notices.
func TestHalfOpen(t *testing.T) {
	const members, lost = 60, 12
	n := startNode(t)
	l := newLoad(t, n.addr, "play", "half-open", fmt.Sprintf("--set=connections=%d", members), "--set=rooms=4",
		"--set=phases.0.for=1s", "--set=phases.1.for=56s", "--set=phases.1.do.silence=20%")
	l.start()
	eventually(t, "all connections are there", func() bool { return l.over() || n.metric("hubbub_connections") >= members })
	// A ping comes every 25 s, and may go unanswered for 10; a close may for 5.
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		found, all := n.closes("3012"), n.metric("hubbub_connections")
		if found == lost && all == members {
			break
		}
		if l.over() || time.Now().After(end) {
			t.Fatalf("the node has %v connections of %d clients, and found %v half open of %d", all, members, found, lost)
		}
	}
	if l.over() {
		t.Error("they were found when the network was back")
	}
	v := l.wait()
	for _, f := range v.Faults {
		t.Error(f)
	}
	s := v.Connections.Silenced
	if s.Members != lost || s.Closes["3012"]+s.Closes["1006"] != lost || s.Closes["3012"] == 0 || v.Connections.Rejoined != lost {
		t.Errorf("%+v, and %d came back", s, v.Connections.Rejoined)
	}
	if c := v.Connections.Closes; len(c) != 1 || c["1006"] != lost { // as those who lost them saw it
		t.Errorf("connections ended with %v", c)
	}
}

// TestSlowReaders: loadgen's scenario of that name. Who does not read is ended, comes
// back, and has all of it.
func TestSlowReaders(t *testing.T) {
	n := startNode(t)
	l := newLoad(t, n.addr, "play", "slow-readers", "--set=phases.0.for=1s", "--set=phases.1.for=11s", "--set=phases.2.for=2s")
	l.start()
	v := l.wait()
	for _, f := range v.Faults {
		t.Error(f)
	}
	s := v.Connections.Stalled
	if s.Members != 5 || s.Closes["3008"] == 0 || s.Closes["3008"]+s.Closes["1006"]+s.Kept != s.Members {
		t.Errorf("%+v", s)
	}
	if c := v.Connections.Closes; c["3008"]+c["1006"] != v.Connections.Rejoined || v.Connections.Rejoined+s.Kept != s.Members {
		t.Errorf("connections ended with %v, and %d came back", c, v.Connections.Rejoined)
	}
}

// closes is how many connections the node has ended with a code.
func (n *node) closes(code string) float64 {
	n.t.Helper()
	_, body := get(n.t, "http://"+n.addr+"/metrics")
	m := regexp.MustCompile(`(?m)^hubbub_closes_total\{code="` + code + `"\} (\S+)$`).FindStringSubmatch(body)
	if m == nil {
		return 0
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		n.t.Fatal(err)
	}
	return v
}
