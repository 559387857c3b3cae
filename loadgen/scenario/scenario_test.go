package scenario

import (
	"strings"
	"testing"
	"time"
)

// TestBuiltin: all of them can be played.
func TestBuiltin(t *testing.T) {
	if len(Names()) < 12 {
		t.Fatalf("built in are %v", Names())
	}
	for _, name := range Names() {
		text, err := Text(name)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if s.Name != name || s.About == "" {
			t.Errorf("%s calls itself %q, about %q", name, s.Name, s.About)
		}
	}
}

const small = `
name: small
connections: 10
rooms: 2
phases:
  - {for: 1s, rate: 5}
  - {name: up, for: 2s, rate: [5, 50], repeat: 3, back: 1}
`

func TestParse(t *testing.T) {
	s, err := Parse([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Phases) != 6 || s.Phases[4].Name != "phase 5" || s.Phases[5].Rate != (Rate{5, 50}) || s.Total() != 9*time.Second {
		t.Errorf("phases %+v", s.Phases)
	}
	if s.ConnectRate != 5000 || s.Payload != (Range{200, 200}) || s.Drain.Value != 10*time.Second || !s.Phases[0].Measured() {
		t.Errorf("defaults: %+v", s)
	}
}

// TestSettings replace what a scenario says.
func TestSettings(t *testing.T) {
	s, err := Parse([]byte(small), "connections=20", "rooms={count: 4, sizes: zipf}", "phases.1.rate=[1, 2]", "reconnect.max=9s", "talkers=30%", "payload=[100,300]")
	if err != nil {
		t.Fatal(err)
	}
	if s.Connections != 20 || s.Rooms.Count != 4 || s.Rooms.Exponent != 1 || s.Phases[1].Rate != (Rate{1, 2}) ||
		s.Reconnect.Max.Value != 9*time.Second || s.Talkers.Fraction != 0.3 || s.Payload != (Range{100, 300}) {
		t.Errorf("%+v", s)
	}
}

// TestBad: each is refused with one line that names what is wrong.
func TestBad(t *testing.T) {
	for _, c := range []struct{ set, want string }{
		{"conections=5", "unknown key conections"},
		{"phases.0.rat=5", "unknown key rat"},
		{"rooms={cuont: 5}", "unknown key cuont"},
		{"rooms={groups: [{count: 5, member: 2}]}", "unknown key member"},
		{"connections=0", "connections must be above 0"},
		{"connections=x", "cannot unmarshal"},
		{"rooms=11", "rooms must be from 1 to connections (10)"},
		{"rooms={count: 2, sizes: odd}", "neither even nor zipf"},
		{"rooms={groups: [{count: 5, members: 3}]}", "15 of 10"},
		{"payload=95", "payload must be from 96"},
		{"payload=[300,200]", "payload must be"},
		{"payload=[300]", "[least, most]"},
		{"talkers=0%", "part above 0%"},
		{"talkers=-1", "number above 0"},
		{"talk=rarely", "neither rooms nor members"},
		{"phases.0.rate=1e9", "rate must be from 0 to 10000000"},
		{"phases.0.rate=-1", "rate must be"},
		{"phases.0.rate=much", "is not a rate"},
		{"phases.0.for=0s", "for must be above 0s"},
		{"phases.0.for=5", "not a time like 10s"},
		{"phases.7.for=5s", "not one of 2 entries"},
		{"phases.0.do={cut: 10%}", "cut wants reconnect"},
		{"phases.0.do={over: 1s}", "do wants cut, silence, stall or command"}, {"phases.0.do={command: [x], for: 1s}", "do.for is how long"},
		{"phases=[]", "phases must be from 1"},
		{"phases.1.repeat=100000", "phases must be"},
		{"count_only=-1", "count_only"},
		{"connect_rate=-1", "connect_rate"},
		{"reconnect={min: 9s}", "above reconnect.max"},
		{"nonsense", "not KEY=VALUE"},
		{"name.x=5", "below a plain value"},
	} {
		_, err := Parse([]byte(small), c.set)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", c.set, err, c.want)
		}
	}
	for _, text := range []string{"", "[]", "a: [", "a: 1\na: 2", "x"} {
		if _, err := Parse([]byte(text)); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := Text("nonsense"); err == nil || !strings.Contains(err.Error(), "steady") {
		t.Errorf("%v", err)
	}
}

// FuzzParse: whatever a file says, reading it ends, with a scenario that can
// be played or one line.
func FuzzParse(f *testing.F) {
	f.Add([]byte(small))
	for _, name := range Names() {
		text, _ := Text(name)
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse(text)
		if err == nil && (s.Connections < 1 || len(s.Phases) == 0) {
			t.Fatalf("%+v", s)
		}
	})
}
