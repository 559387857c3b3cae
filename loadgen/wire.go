package main

import (
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/check"
	"github.com/hubbub-chat/hubbub/loadgen/report"
)

// The control channel between a coordinator and its workers is HTTP. The
// coordinator posts a job to /play and reads the answer, a line of JSON each:
// how far it is, once a second; that the connections are there; where rooms are shared, that everything the
// worker knows of has arrived; what it knows of rooms; and the result. Between
// these it tells when to begin (POST /begin), and what the others know of
// (POST /settle). A coordinator that goes away ends its job, for it takes the
// request with it. Both show the same secret, as a bearer token: whoever has it
// makes a worker connect to any address.

// job is what a worker is asked to do.
type job struct {
	portion
	URLs      []string      `json:"urls"`
	Protocol  string        `json:"protocol"`
	Loops     int           `json:"loops"`
	Seed      uint64        `json:"seed"` // its own
	Draw      uint64        `json:"draw"` // the seed of what is drawn for all together
	Crew      int           `json:"crew"` // connections of all together
	Run       string        `json:"run"`
	Prefix    string        `json:"room_prefix"`
	Patience  time.Duration `json:"join_timeout_ns"`
	KeepAcked bool          `json:"keep_acked"` // what was acknowledged is wanted at the end
	Clock     int64         `json:"clock_ns"`   // the coordinator's clock, less the worker's
}

// word is one line of a worker's answer: one of its fields. The first has none:
// the job is taken, and can be stopped.
type word struct {
	Ready  bool             `json:"ready,omitempty"`
	Now    *report.Snapshot `json:"now,omitempty"`   // once a second
	Quiet  map[int]reached  `json:"quiet,omitempty"` // by number of the room
	Room   *account         `json:"room,omitempty"`
	Error  string           `json:"error,omitempty"`
	Result *report.Result   `json:"result,omitempty"`
}

// reached is how much was seen of a shared room.
type reached struct {
	Seen int    `json:"seen"`
	Top  uint64 `json:"top"` // the highest offset
}

// account is what a worker knows of one room, in pieces: of a shared one all
// that a check.Account has, of another what was acknowledged.
type account struct {
	Room      int              `json:"room"`
	Shared    bool             `json:"shared,omitempty"`
	First     uint32           `json:"first,omitempty"`
	Behind    uint32           `json:"behind,omitempty"`
	Standings []check.Standing `json:"standings,omitempty"`
	States    []byte           `json:"states,omitempty"`
	Entries   []byte           `json:"entries,omitempty"` // see check.AppendEntries
	More      bool             `json:"more,omitempty"`    // another piece of the same room follows, with entries alone
}

// maxEntries is how many messages go in one piece.
const maxEntries = 1 << 14

// start is when to begin, in the coordinator's clock.
type start struct {
	At int64 `json:"at_ns"`
}
