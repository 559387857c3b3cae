package main

import (
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/report"
	"github.com/hubbub-chat/hubbub/loadgen/scenario"
)

// The control channel between a coordinator and its workers is HTTP. The
// coordinator posts a job to /play and reads the answer, a line of JSON each:
// that the connections are there, and, when everybody was told to begin (POST
// /begin), the result. A coordinator that goes away ends its job, for it takes
// the request with it. Both show the same secret, as a bearer token: whoever
// has it makes a worker connect to any address.

// job is what a worker is asked to do.
type job struct {
	Scenario *scenario.Scenario `json:"scenario"`
	URLs     []string           `json:"urls"`
	Protocol string             `json:"protocol"`
	Loops    int                `json:"loops"`
	Seed     uint64             `json:"seed"`
	Prefix   string             `json:"room_prefix"`
	Patience time.Duration      `json:"join_timeout_ns"`
}

// word is one line of a worker's answer: one of its fields.
type word struct {
	Ready  bool           `json:"ready,omitempty"`
	Error  string         `json:"error,omitempty"`
	Result *report.Result `json:"result,omitempty"`
}
