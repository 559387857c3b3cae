package main

import (
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
