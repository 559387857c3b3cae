package main

import (
	"math"
	"slices"
)

// outcome is what is left of one player's run: the report, and beside its
// quantiles the histograms they are of, which can be added up.
type outcome struct {
	report *report
	series []series
	phases []times
}

// merge adds workers' outcomes up. Quantiles are those of the merged
// histograms; in the timeline, where there are none, the worst worker's.
func merge(all []*outcome) *outcome {
	sum := &outcome{report: &report{Check: &check{}, Messages: &messages{}, Connections: connections{Errors: codes{}, Closes: codes{}, Unsubs: codes{}}}}
	r := sum.report
	for i, o := range all {
		from := o.report
		if i == 0 {
			r.Scenario, r.Began = from.Scenario, from.Began
			r.Phases = slices.Clone(from.Phases)
			sum.phases = o.phases
		} else {
			r.Run += "+"
			for k := range min(len(r.Phases), len(from.Phases)) {
				r.Phases[k].From += from.Phases[k].From
				r.Phases[k].To += from.Phases[k].To
				r.Phases[k].messages.add(&from.Phases[k].messages)
			}
			for k := range min(len(sum.phases), len(o.phases)) {
				sum.phases[k].merge(&o.phases[k])
			}
		}
		r.Run += from.Run
		r.Interrupted = r.Interrupted || from.Interrupted
		r.Connections.add(&from.Connections)
		if from.Messages != nil {
			r.Messages.add(from.Messages)
		}
		if from.Check != nil {
			r.Check.merge(from.Check)
		}
		r.Tool.add(&from.Tool)
		r.Timeline = addTimelines(r.Timeline, from.Timeline)
		sum.addSeries(o.series)
	}
	sum.requantile()
	return sum
}

func (o *outcome) addSeries(from []series) {
	for _, s := range from {
		i := slices.IndexFunc(o.series, func(have series) bool { return have.name == s.name })
		if i < 0 {
			o.series = append(o.series, s)
		} else {
			o.series[i].merge(s.latency)
		}
	}
}

// requantile reads quantiles off the merged histograms.
func (o *outcome) requantile() {
	r := o.report
	of := func(name string) (q quantiles) {
		for i := range o.series {
			if o.series[i].name == name {
				return o.series[i].quantiles()
			}
		}
		return q
	}
	c, m := &r.Connections, r.Messages
	c.TCP, c.Handshake, c.Connect, c.Subscribe = of("tcp"), of("handshake"), of("connect"), of("subscribe")
	c.Recovery, c.Away, c.Refresh = of("recovery"), of("away"), of("refresh")
	m.Ack, m.AckService, m.Delivery, m.DeliveryService = of("ack"), of("ack service"), of("delivery"), of("delivery service")
	m.Last, m.Recovered, m.SendError = of("last member"), of("recovered"), of("send error")
	r.Tool.Lag = of("tool lag")
	for i := range min(len(r.Phases), len(o.phases)) {
		r.Phases[i].times(&o.phases[i])
	}
	for i := range o.series {
		r.Curves = append(r.Curves, o.series[i].curve())
	}
}

func (m *messages) add(o *messages) {
	m.Seconds, m.Payload = max(m.Seconds, o.Seconds), max(m.Payload, o.Payload)
	m.SentRate += o.SentRate
	m.AckedRate += o.AckedRate
	m.DeliveredRate += o.DeliveredRate
	m.BytesRate += o.BytesRate
	m.Unsent += o.Unsent
	m.Late += o.Late
}

func (c *connections) add(o *connections) {
	c.Wanted += o.Wanted
	c.Joined += o.Joined
	c.Failed += o.Failed
	c.Closed += o.Closed
	c.Retried += o.Retried
	c.Rejoined += o.Rejoined
	c.Unrecovered += o.Unrecovered
	c.Seconds = max(c.Seconds, o.Seconds)
	if c.DialError == "" {
		c.DialError = o.DialError
	}
	for to, from := range map[*codes]codes{&c.Errors: o.Errors, &c.Closes: o.Closes, &c.Unsubs: o.Unsubs} {
		for code, n := range from {
			(*to)[code] += n
		}
	}
}

func (k *check) merge(o *check) {
	k.counts.add(&o.counts)
	k.Lost += o.Lost
	k.Unanswered += o.Unanswered
	k.Away += o.Away
	k.MayRefuse, k.ComesBack, k.Sample = o.MayRefuse, o.ComesBack, o.Sample
}

func (t *tool) add(o *tool) {
	t.CPU += o.CPU
	t.Seconds = max(t.Seconds, o.Seconds)
	t.Loops += o.Loops
	t.RSS += o.RSS
	t.RSSAnon += o.RSSAnon
}

// addTimelines adds the seconds of two workers that began together.
func addTimelines(a, b []second) []second {
	if a == nil {
		return slices.Clone(b)
	}
	for i := range min(len(a), len(b)) {
		s, o := &a[i], &b[i]
		s.Open += o.Open
		s.Sent += o.Sent
		s.Acked += o.Acked
		s.Delivered += o.Delivered
		s.P50, s.P99, s.Max = math.Max(s.P50, o.P50), math.Max(s.P99, o.P99), math.Max(s.Max, o.Max)
		s.Unsent += o.Unsent
		s.Closed += o.Closed
		s.Rejoined += o.Rejoined
		s.Faults += o.Faults
		s.ToolCPU += o.ToolCPU
	}
	return a
}
