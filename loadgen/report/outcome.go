package report

import (
	"math"
	"slices"
)

// Outcome is what is left of one player's run: the report, and beside its
// quantiles the histograms they are of, which can be added up.
type Outcome struct {
	Report *Report
	Series []Series
	Phases []Times
}

// sumRates adds a rate's parts up to what it was before it was divided: 200, and
// not 199.99999999999997.
func sumRates(a, b float64) float64 { return math.Round((a+b)*1e6) / 1e6 }

// Merge adds workers' outcomes up. Quantiles are those of the merged
// histograms; in the timeline, where there are none, the worst worker's.
func Merge(all []*Outcome) *Outcome {
	sum := &Outcome{Report: &Report{Check: &Check{}, Messages: &Messages{}, Connections: connections{Errors: Codes{}, Closes: Codes{}, Unsubs: Codes{}, Reasons: Codes{}}}}
	r := sum.Report
	for i, o := range all {
		from := o.Report
		if i == 0 {
			r.Scenario, r.Began, r.Notes = from.Scenario, from.Began, from.Notes
			r.Phases = slices.Clone(from.Phases)
			sum.Phases = o.Phases
		} else {
			for k := range min(len(r.Phases), len(from.Phases)) {
				r.Phases[k].From = sumRates(r.Phases[k].From, from.Phases[k].From)
				r.Phases[k].To = sumRates(r.Phases[k].To, from.Phases[k].To)
				r.Phases[k].Messages.add(&from.Phases[k].Messages)
			}
			for k := range min(len(sum.Phases), len(o.Phases)) {
				sum.Phases[k].Merge(&o.Phases[k])
			}
		}
		r.Run = from.Run // of them all
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
		sum.addSeries(o.Series)
	}
	sum.requantile()
	return sum
}

func (o *Outcome) addSeries(from []Series) {
	for _, s := range from {
		i := slices.IndexFunc(o.Series, func(have Series) bool { return have.Name == s.Name })
		if i < 0 {
			o.Series = append(o.Series, s)
		} else {
			o.Series[i].Merge(s.Latency)
		}
	}
}

// requantile reads quantiles off the merged histograms.
func (o *Outcome) requantile() {
	r := o.Report
	of := func(name string) (q Quantiles) {
		for i := range o.Series {
			if o.Series[i].Name == name {
				return o.Series[i].Quantiles()
			}
		}
		return q
	}
	c, m := &r.Connections, r.Messages
	c.TCP, c.Handshake, c.Connect, c.Subscribe = of("tcp"), of("handshake"), of("connect"), of("subscribe")
	c.Recovery, c.Away, c.Refresh, c.Page = of("recovery"), of("away"), of("refresh"), of("history page")
	m.Ack, m.AckService, m.Delivery, m.DeliveryService = of("ack"), of("ack service"), of("delivery"), of("delivery service")
	m.Last, m.Recovered, m.SendError = of("last member"), of("recovered"), of("send error")
	r.Tool.Lag = of("tool lag")
	for i := range min(len(r.Phases), len(o.Phases)) {
		r.Phases[i].Times(&o.Phases[i])
	}
	for i := range o.Series {
		r.Curves = append(r.Curves, o.Series[i].Curve())
	}
}

func (m *Messages) add(o *Messages) {
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
	c.Stalled, c.Silenced = mergeStruck(c.Stalled, o.Stalled), mergeStruck(c.Silenced, o.Silenced)
	for to, from := range map[*Codes]Codes{&c.Errors: o.Errors, &c.Closes: o.Closes, &c.Unsubs: o.Unsubs, &c.Reasons: o.Reasons} {
		for code, n := range from {
			(*to)[code] += n
		}
	}
}

func (k *Check) merge(o *Check) {
	k.Counts.Add(&o.Counts)
	k.Lost += o.Lost
	k.Unanswered += o.Unanswered
	k.Unquiet += o.Unquiet
	k.Away += o.Away
	k.MayRefuse, k.ComesBack, k.Sample = o.MayRefuse, o.ComesBack, o.Sample
}

func (t *Tool) add(o *Tool) {
	t.CPU += o.CPU
	t.Seconds = max(t.Seconds, o.Seconds)
	t.Loops += o.Loops
	t.RSS += o.RSS
	t.RSSAnon += o.RSSAnon
}

// addTimelines adds the seconds of two workers that began together.
func addTimelines(a, b []Second) []Second {
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
