package report

import (
	"fmt"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is an outcome on the wire.
type Result struct {
	Report *Report             `json:"report"`
	Series map[string][]byte   `json:"series"` // HdrHistogram's V2 compressed form
	Phases []map[string][]byte `json:"phases"`
}

// timesNames are a phase's latencies, in the order of Times.all.
var timesNames = []string{"ack", "ack service", "delivery", "delivery service", "last member", "recovered", "send error"}

// Pack writes an outcome down, and Unpack reads it.
func (o *Outcome) Pack() (*Result, error) {
	r := &Result{Report: o.Report, Series: map[string][]byte{}}
	for i := range o.Series {
		b, err := o.Series[i].h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		if err != nil {
			return nil, err
		}
		r.Series[o.Series[i].Name] = b
	}
	for i := range o.Phases {
		packed := map[string][]byte{}
		for k, l := range o.Phases[i].all() {
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
func unpackInto(l Latency, b []byte) error {
	h, err := hdrhistogram.Decode(b)
	if err != nil {
		return fmt.Errorf("histogram: %w", err)
	}
	if dropped := l.h.Merge(h); dropped > 0 {
		return fmt.Errorf("histogram: %d values do not fit", dropped)
	}
	return nil
}

// Unpack is an outcome again.
func (r *Result) Unpack() (*Outcome, error) {
	o := &Outcome{Report: r.Report}
	// In a fixed order, so that reports are alike.
	for _, name := range []string{"tcp", "handshake", "connect", "subscribe", "recovery", "away", "refresh", "history page", "ack", "ack service",
		"delivery", "delivery service", "last member", "recovered", "send error", "tool lag"} {
		if b := r.Series[name]; b != nil {
			s := Series{name, NewLatency()}
			if err := unpackInto(s.Latency, b); err != nil {
				return nil, err
			}
			o.Series = append(o.Series, s)
		}
	}
	for _, packed := range r.Phases {
		t := NewTimes(0)
		for k, l := range t.all() {
			if b := packed[timesNames[k]]; b != nil {
				if err := unpackInto(l, b); err != nil {
					return nil, err
				}
			}
		}
		o.Phases = append(o.Phases, t)
	}
	return o, nil
}
