package main

import (
	"slices"

	"github.com/hubbub-chat/hubbub/loadgen/scenario"
)

// portion is what one worker of a crew plays.
type portion struct {
	Scenario *scenario.Scenario `json:"scenario"` // with its share of the connections and of the rates
	First    uint32             `json:"first"`    // the number of its first connection, among all of the crew
	Rooms    []dealt            `json:"rooms"`
}

// dealt is a room, or what a worker has of it.
type dealt struct {
	Number  int  `json:"room"`
	Members int  `json:"members"`
	Talkers int  `json:"talkers"`          // of these members
	Weight  int  `json:"weight"`           // how often it is spoken to from here, against other rooms
	Shared  bool `json:"shared,omitempty"` // other workers have members of it, too
}

// alike is the weight of each of so many rooms, where all are spoken to equally
// often. Of one that is shared each worker has a part of it, so precisely. A
// worker's plan has a list as long as its weights together.
func alike(rooms int) int { return min(1000, max(10, 1<<20/rooms)) }

// shares reports whether a portion has a room that others have members of.
func (p *portion) shares() bool {
	return slices.ContainsFunc(p.Rooms, func(d dealt) bool { return d.Shared })
}

// layout is who sits where.
func (p *portion) layout() layout {
	sizes := make([]int, len(p.Rooms))
	for i, d := range p.Rooms {
		sizes[i] = d.Members
	}
	l := sized(p.Scenario.Connections, sizes)
	l.sample = max(1, p.Scenario.CountOnly)
	return l
}

// dealer deals the rooms of a scenario to workers.
//
// A room lives in one worker, who can check it alone. Only one that is larger
// than a worker's fair share of all connections, or finds no worker with so
// many open files left, is shared by as many as it takes. The largest rooms
// come first, each to whom has the fewest members by then.
type dealer struct {
	layout  layout
	plan    plan
	fair    int // connections of a worker, were all alike
	files   int // the most that one can hold
	members []int
	rooms   [][]dealt
}

// deal deals a scenario to n workers that can hold so many connections each.
// There are as many portions as there is work for. whole says that no room may
// be shared.
func deal(sc *scenario.Scenario, n, files int, whole bool) []portion {
	l := layoutOf(sc)
	d := &dealer{layout: l, fair: (l.conns + n - 1) / n, files: files, members: make([]int, n), rooms: make([][]dealt, n)}
	d.plan = plan{layout: &d.layout, talkers: share{sc.Talkers.Number, sc.Talkers.Fraction}}
	if whole {
		d.fair, d.files = l.conns, l.conns
	}
	bySize := make([]int, l.rooms)
	for r := range bySize {
		bySize[r] = r
	}
	slices.SortStableFunc(bySize, func(a, b int) int { return l.members(b) - l.members(a) })
	for _, r := range bySize {
		weight := alike(l.rooms)
		if sc.Talk == "members" {
			weight = d.plan.talkersOf(r)
		}
		d.place(r, weight)
	}
	return d.portions(sc)
}

// place gives a room to one worker, or its members to several.
func (d *dealer) place(r, weight int) {
	size := d.layout.members(r)
	least := slices.Index(d.members, slices.Min(d.members))
	if size <= d.fair && d.members[least]+size <= d.files {
		d.give(least, dealt{r, size, d.plan.talkersOf(r), weight, false})
		return
	}
	byMembers := make([]int, len(d.members))
	for i := range byMembers {
		byMembers[i] = i
	}
	slices.SortStableFunc(byMembers, func(a, b int) int { return d.members[a] - d.members[b] })
	k := 1
	for ; k < len(byMembers); k++ {
		piece := (size + k - 1) / k
		fits := func(i int) bool { return d.members[i]+piece <= d.files }
		if piece <= d.fair && !slices.ContainsFunc(byMembers[:k], func(i int) bool { return !fits(i) }) {
			break
		}
	}
	d.share(r, weight, byMembers[:k])
}

// share deals a room to several workers, as equally as whole numbers are: each
// has its part of the members, of those who talk, and of the weight.
func (d *dealer) share(r, weight int, workers []int) {
	size, k := d.layout.members(r), len(workers)
	var sizes []int
	decoders := 0
	for i := range k {
		sizes = append(sizes, (size+k-1-i)/k)
		decoders += d.decoders(sizes[i])
	}
	talkers := d.plan.talkersOf(r)
	before, talked, weighed := 0, 0, 0
	for i, w := range workers {
		before += d.decoders(sizes[i])
		mine := talkers*before/decoders - talked
		talked += mine
		heavy := weight*talked/talkers - weighed
		weighed += heavy
		d.give(w, dealt{r, sizes[i], mine, heavy, k > 1})
	}
}

// decoders is how many of so many members look into messages: who may talk.
func (d *dealer) decoders(members int) int { return (members + d.layout.sample - 1) / d.layout.sample }

func (d *dealer) give(worker int, r dealt) {
	d.rooms[worker] = append(d.rooms[worker], r)
	d.members[worker] += r.Members
}

func (d *dealer) portions(sc *scenario.Scenario) (all []portion) {
	total := 0
	for i := range d.rooms {
		total += weightOf(d.rooms[i])
	}
	first := 0
	for i, rooms := range d.rooms {
		if len(rooms) == 0 {
			continue
		}
		ofRate := float64(weightOf(rooms)) / float64(total)
		all = append(all, portion{partly(sc, d.members[i], ofRate), uint32(first), rooms})
		first += d.members[i]
	}
	return all
}

func weightOf(rooms []dealt) (sum int) {
	for _, d := range rooms {
		sum += d.Weight
	}
	return sum
}

// partly is a scenario with a part of its connections and of its rates. Who is
// cut off, or not read, is still said of all; what is done once, by the
// coordinator, is left out.
func partly(sc *scenario.Scenario, members int, ofRate float64) *scenario.Scenario {
	mine := *sc
	mine.Connections = members
	mine.HistoryRate *= float64(members) / float64(sc.Connections)
	mine.ConnectRate = max(1, sc.ConnectRate*float64(members)/float64(sc.Connections))
	mine.Rooms = scenario.Rooms{}
	mine.Expect.P99, mine.Expect.AckP99 = scenario.Duration{}, scenario.Duration{}
	mine.Phases = slices.Clone(sc.Phases)
	for i := range mine.Phases {
		ph := &mine.Phases[i]
		ph.Rate.From, ph.Rate.To = ph.Rate.From*ofRate, ph.Rate.To*ofRate
		if ph.Do != nil {
			do := *ph.Do
			do.Command = nil
			ph.Do = &do
		}
	}
	return &mine
}
