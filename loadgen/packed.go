package main

import (
	"fmt"

	"github.com/HdrHistogram/hdrhistogram-go"
)

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
