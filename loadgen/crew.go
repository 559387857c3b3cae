package main

import (
	"math"
	"slices"

	"github.com/hubbub-chat/hubbub/loadgen/scenario"
)

// split deals a scenario to n workers. A room lives in one worker, so that
// each can check its own: the largest rooms are dealt first, each to whom has
// the fewest members by then. There are as many parts as there is work for.
func split(sc *scenario.Scenario, n int) []*scenario.Scenario {
	l := layoutOf(sc)
	bySize := make([]int, l.rooms)
	for r := range bySize {
		bySize[r] = r
	}
	slices.SortStableFunc(bySize, func(a, b int) int { return l.members(b) - l.members(a) })
	n = min(n, l.rooms)
	rooms, members := make([][]int, n), make([]int, n)
	for _, r := range bySize {
		least := 0
		for i := range members {
			if members[i] < members[least] {
				least = i
			}
		}
		rooms[least] = append(rooms[least], l.members(r))
		members[least] += l.members(r)
	}
	p := plan{layout: &l, talkers: share{sc.Talkers.Number, sc.Talkers.Fraction}}
	talkers := 0
	for r := range l.rooms {
		talkers += p.talkersOf(r)
	}
	parts := make([]*scenario.Scenario, n)
	for i := range parts {
		of := float64(len(rooms[i])) / float64(l.rooms)
		if sc.Talk == "members" {
			mine := 0
			for _, size := range rooms[i] {
				mine += p.talkers.of(size)
			}
			of = float64(mine) / float64(talkers)
		}
		parts[i] = portion(sc, rooms[i], members[i], of, float64(members[i])/float64(l.conns))
	}
	return parts
}

// portion is what one worker plays: rooms of given sizes, its share of the rate,
// and its share of connections opened a second.
func portion(sc *scenario.Scenario, rooms []int, members int, ofRate, ofConns float64) *scenario.Scenario {
	mine := *sc
	mine.Connections = members
	mine.ConnectRate = max(1, sc.ConnectRate*ofConns)
	mine.Rooms = scenario.Rooms{}
	for _, size := range rooms {
		if last := len(mine.Rooms.Groups) - 1; last >= 0 && mine.Rooms.Groups[last].Members == size {
			mine.Rooms.Groups[last].Count++
		} else {
			mine.Rooms.Groups = append(mine.Rooms.Groups, scenario.Group{Count: 1, Members: size})
		}
	}
	mine.Phases = slices.Clone(sc.Phases)
	for i := range mine.Phases {
		ph := &mine.Phases[i]
		ph.Rate.From, ph.Rate.To = ph.Rate.From*ofRate, ph.Rate.To*ofRate
		if ph.Do != nil {
			do := *ph.Do
			do.Cut, do.Silence = asFraction(do.Cut, sc.Connections), asFraction(do.Silence, sc.Connections)
			do.Command = nil // once, by the coordinator
			if ph.Do = &do; !do.Cut.Given() && !do.Silence.Given() {
				ph.Do = nil
			}
		}
	}
	return &mine
}

// asFraction makes a number of all connections a part of each worker's.
func asFraction(s scenario.Share, of int) scenario.Share {
	if s.Number > 0 {
		return scenario.Share{Fraction: min(1, float64(s.Number)/float64(of))}
	}
	return s
}

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
