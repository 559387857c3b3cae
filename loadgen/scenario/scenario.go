// Package scenario is what a load test should do, as a small YAML file: how
// many connections, in which rooms, and phases that follow one another.
//
// Nouns: a Scenario is a whole file; a Phase is a stretch of it with its rate
// of messages; an Action is what happens to connections when a phase begins.
// Reading one checks all of it: a Scenario that Parse returned can be played.
package scenario

import (
	"time"
)

// Scenario is one file. Each knob is its own.
type Scenario struct {
	Name  string `yaml:"name"`
	About string `yaml:"about"` // one line

	Connections int     `yaml:"connections"`
	ConnectRate float64 `yaml:"connect_rate"` // connections opened a second; default 5,000
	Rooms       Rooms   `yaml:"rooms"`
	Talkers     Share   `yaml:"talkers"`    // members of a room that publish, in turn: a number, or a part like 20%; default all
	Talk        string  `yaml:"talk"`       // rooms: all alike (default); members: in proportion to their talkers
	Payload     Range   `yaml:"payload"`    // bytes of a message's data: a number, or [least, most]; default 200
	CountOnly   int     `yaml:"count_only"` // decode one member in this many and only count on the others; 0: decode on all

	Reconnect   *Backoff `yaml:"reconnect"`    // absent: clients whose connection ends stay away
	Tokens      *Tokens  `yaml:"tokens"`       // absent: clients are guests
	HistoryRate float64  `yaml:"history_rate"` // pages of histories that members ask for in a second, in turn, forwards and backwards
	HistoryPage int      `yaml:"history_page"` // messages of such a page; default 50

	History bool     `yaml:"history"` // read the rooms' histories at the end, and compare
	Drain   Duration `yaml:"drain"`   // longest wait at the end for what was published; default 10s
	Phases  []Phase  `yaml:"phases"`
	Expect  Expect   `yaml:"expect"`
}

// Rooms is how the connections are dealt to rooms.
type Rooms struct {
	Count    int     `yaml:"count"`
	Sizes    string  `yaml:"sizes"`    // even (default), or zipf
	Exponent float64 `yaml:"exponent"` // of zipf; default 1
	Groups   []Group `yaml:"groups"`   // instead of a count: rooms of given sizes
}

// Group is rooms of one size.
type Group struct {
	Count   int `yaml:"count"`
	Members int `yaml:"members"`
}

// Backoff is how clients come back whose connection ended.
type Backoff struct {
	Min Duration `yaml:"min"` // longest wait before the first attempt; default 200ms
	Max Duration `yaml:"max"` // longest wait at all; default 5s
}

// Tokens are what clients connect with.
type Tokens struct {
	SecretFile string   `yaml:"secret_file"` // of HS256; or $LOADGEN_TOKEN_SECRET
	TTL        Duration `yaml:"ttl"`         // clients refresh theirs before it ends
}

// Phase is a stretch of time.
type Phase struct {
	Name    string   `yaml:"name"`
	For     Duration `yaml:"for"`
	Rate    Rate     `yaml:"rate"`    // messages a second, in all rooms together: a number, or [from, to]
	Measure *bool    `yaml:"measure"` // whether it counts in the sums; default true
	Repeat  int      `yaml:"repeat"`  // how many times this phase and those up to Back; default 1
	Back    int      `yaml:"back"`    // with repeat: how many phases before this one are repeated with it
	Do      *Action  `yaml:"do"`      // at its beginning
}

// Measured reports whether the phase counts in the sums.
func (p *Phase) Measured() bool { return p.Measure == nil || *p.Measure }

// Action is what happens when a phase begins.
type Action struct {
	Cut     Share    `yaml:"cut"`     // this part of the connections is dropped, without a word, by the client
	Silence Share    `yaml:"silence"` // this part is lost by the network: nothing is read or said, and it comes back over new connections when pings stay away
	Stall   Share    `yaml:"stall"`   // this part stops reading, until the TCP windows close, and saying anything
	For     Duration `yaml:"for"`     // how long a silence or stall is; absent: until the phase ends
	Over    Duration `yaml:"over"`    // spread over so long
	Command []string `yaml:"command"` // a program is run, and waited for, while the phase goes on; {n} is how many times this was done before
}

// Expect is what makes a run a failure beside what is always one.
type Expect struct {
	P99         Duration `yaml:"p99"`         // of delivery, at most
	AckP99      Duration `yaml:"ack_p99"`     // from publish to acknowledgement, at most
	Unrecovered bool     `yaml:"unrecovered"` // recoveries may be refused
}

// Total is how long all phases take.
func (s *Scenario) Total() (d time.Duration) {
	for i := range s.Phases {
		d += s.Phases[i].For.Value
	}
	return d
}
