package main

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

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
	Ready  bool    `json:"ready,omitempty"`
	Error  string  `json:"error,omitempty"`
	Result *result `json:"result,omitempty"`
}

// result is an outcome on the wire.
type result struct {
	Report *report             `json:"report"`
	Series map[string][]byte   `json:"series"` // HdrHistogram's V2 compressed form
	Phases []map[string][]byte `json:"phases"`
}

// names of a phase's latencies, in the order of times.all.
var timesNames = []string{"ack", "ack service", "delivery", "delivery service", "last member", "recovered", "send error"}

func (o *outcome) pack() (*result, error) {
	r := &result{Report: o.report, Series: map[string][]byte{}}
	for i := range o.series {
		b, err := o.series[i].h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		if err != nil {
			return nil, err
		}
		r.Series[o.series[i].name] = b
	}
	for i := range o.phases {
		packed := map[string][]byte{}
		for k, l := range o.phases[i].all() {
			if l.h.TotalCount() == 0 {
				continue
			}
			b, err := l.h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
			if err != nil {
				return nil, err
			}
			packed[timesNames[k]] = b
		}
		r.Phases = append(r.Phases, packed)
	}
	return r, nil
}

// unpackInto adds a packed histogram to a latency.
func unpackInto(l latency, b []byte) error {
	h, err := hdrhistogram.Decode(b)
	if err != nil {
		return fmt.Errorf("histogram: %w", err)
	}
	if dropped := l.h.Merge(h); dropped > 0 {
		return fmt.Errorf("histogram: %d values do not fit", dropped)
	}
	return nil
}

func (r *result) unpack() (*outcome, error) {
	o := &outcome{report: r.Report}
	// In a fixed order, so that reports are alike.
	for _, name := range []string{"tcp", "handshake", "connect", "subscribe", "recovery", "away", "refresh", "ack", "ack service",
		"delivery", "delivery service", "last member", "recovered", "send error", "tool lag"} {
		if b := r.Series[name]; b != nil {
			s := series{name, newLatency()}
			if err := unpackInto(s.latency, b); err != nil {
				return nil, err
			}
			o.series = append(o.series, s)
		}
	}
	for _, packed := range r.Phases {
		t := newTimes(0)
		for k, l := range t.all() {
			if b := packed[timesNames[k]]; b != nil {
				if err := unpackInto(l, b); err != nil {
					return nil, err
				}
			}
		}
		o.phases = append(o.phases, t)
	}
	return o, nil
}
