package check

import (
	"cmp"
	"slices"
)

// sequence is the order in which a room's messages were seen, and readers are
// positions in it. Whoever sees a message first writes it down; every other
// reader compares what it gets with what stands at its own position. So one
// entry serves all members: a delivery costs one comparison, and the entries
// all readers have passed are dropped.
//
// Rejected: a list of messages per member, compared at the end. It needs
// memory for every delivery, and finds a fault when its cause is long gone.
//
// The entries are in the order of their offsets. One that arrives late (its
// first reader lost it, or joined behind it) is put in its place, and the
// readers that are past that place have a hole there: a message they did not
// get. It is lost when the hole is never filled, and out of order when it is.
type sequence struct {
	base    uint64 // position of entries[0]
	entries []seen
	dropped uint64 // offset of the last entry that was dropped
	trimAt  int    // number of entries at which to try to drop some
	readers []*Reader
}

// Entry is a message under its offset.
type Entry struct{ Offset, ID uint64 }

// seen is an entry, and how many readers have it.
type seen struct {
	Entry
	by uint32
}

// Reader is one member's position. It belongs to its sequence.
type Reader struct {
	next  uint64 // position of the entry it gets next
	from  uint64 // the offset its subscription began behind
	slot  int    // its place in sequence.readers
	holes map[uint64]struct{}
	lost  uint64 // holes beyond maxHoles
}

// maxHoles bounds what a reader remembers of what it missed. A message that
// fills a forgotten hole counts as a duplicate; either way it is a fault.
const maxHoles = 1 << 16

const (
	keepEntries = 1 << 8 // kept behind all readers, to place those who join late
	trimEntries = 1 << 10
)

// Verdict says what is wrong with one delivery.
type Verdict uint8

const (
	InOrder    Verdict = iota
	Duplicated         // seen before, by this reader or under another offset
	Reordered          // smaller than what the reader already had
	Unexpected         // another message than others saw there, or one nobody published
)

func (s *sequence) end() uint64 { return s.base + uint64(len(s.entries)) }

// join adds a reader whose subscription began behind the offset from.
func (s *sequence) join(r *Reader, from uint64) {
	p, found := s.find(from)
	if found {
		p++
	}
	r.from, r.next, r.slot = from, s.base+uint64(p), len(s.readers)
	s.readers = append(s.readers, r)
}

// leave removes a reader; what it did not get is not waited for.
func (s *sequence) leave(r *Reader) {
	last := len(s.readers) - 1
	s.readers[last].slot = r.slot
	s.readers[r.slot] = s.readers[last]
	s.readers[last] = nil
	s.readers = s.readers[:last]
}

// observe takes one delivery to r. by is how many readers have had e in its
// place, this one included; 1 says that nobody had seen it before. It is 0 when
// the delivery was not in its place and others have seen it.
func (s *sequence) observe(r *Reader, e Entry) (v Verdict, by uint32) {
	i, n := r.next-s.base, uint64(len(s.entries))
	if i < n && s.entries[i].Entry == e {
		r.next++
		s.entries[i].by++
		return InOrder, s.entries[i].by
	}
	if i == n && e.Offset > r.from && e.Offset > s.top() {
		s.entries = append(s.entries, seen{e, 1})
		r.next++
		if len(s.entries) > max(s.trimAt, trimEntries) {
			s.trim()
		}
		return InOrder, 1
	}
	v, fresh := s.misplaced(r, e)
	if fresh {
		by = 1
	}
	return v, by
}

func (s *sequence) top() uint64 {
	if len(s.entries) == 0 {
		return s.dropped
	}
	return s.entries[len(s.entries)-1].Offset
}

func (s *sequence) find(offset uint64) (int, bool) {
	return slices.BinarySearchFunc(s.entries, offset, func(e seen, o uint64) int { return cmp.Compare(e.Offset, o) })
}

// misplaced takes a delivery that is not the one at r's position.
func (s *sequence) misplaced(r *Reader, e Entry) (v Verdict, fresh bool) {
	if e.Offset <= r.from {
		return Duplicated, false // its subscription began behind it
	}
	if e.Offset <= s.dropped {
		return r.late(e.Offset), false
	}
	p, found := s.find(e.Offset)
	pos := s.base + uint64(p)
	switch {
	case !found:
		s.insert(p, e, r)
		if r.next > pos {
			r.next++
			return Reordered, true
		}
	case pos < r.next:
		if s.entries[p].ID != e.ID {
			return Unexpected, false
		}
		return r.late(e.Offset), false
	case s.entries[p].ID != e.ID:
		v = Unexpected
	}
	for ; r.next < pos; r.next++ {
		r.miss(s.entries[r.next-s.base].Offset)
	}
	r.next++
	return v, !found
}

// insert puts e at p and leaves a hole with every reader that is past it. The
// one that brings it is left to the caller.
func (s *sequence) insert(p int, e Entry, by *Reader) {
	s.entries = slices.Insert(s.entries, p, seen{e, 1})
	for _, r := range s.readers {
		if r != by && r.next > s.base+uint64(p) {
			r.next++
			r.miss(e.Offset)
		}
	}
}

// trim drops entries that all readers have passed, but for the last few.
func (s *sequence) trim() {
	low := s.end()
	for _, r := range s.readers {
		low = min(low, r.next)
	}
	if n := min(int(low-s.base), len(s.entries)-keepEntries); n > 0 {
		s.dropped = s.entries[n-1].Offset
		s.entries = slices.Delete(s.entries, 0, n)
		s.base += uint64(n)
	}
	s.trimAt = 2 * len(s.entries) // so that a reader far behind is not looked at each time
}

// missing is the number of entries behind the offset from that r did not get.
func (s *sequence) missing(r *Reader, from uint64) uint64 {
	n := r.lost
	for offset := range r.holes {
		if offset > from {
			n++
		}
	}
	for _, e := range s.entries[r.next-s.base:] {
		if e.Offset > from {
			n++
		}
	}
	return n
}

// From is the offset its subscription began behind.
func (r *Reader) From() uint64 { return r.from }

func (r *Reader) miss(offset uint64) {
	switch {
	case offset <= r.from: // it was there before the subscription
	case len(r.holes) >= maxHoles:
		r.lost++
	case r.holes == nil:
		r.holes = map[uint64]struct{}{offset: {}}
	default:
		r.holes[offset] = struct{}{}
	}
}

// late is the verdict on a message behind r's position.
func (r *Reader) late(offset uint64) Verdict {
	if _, missed := r.holes[offset]; missed {
		delete(r.holes, offset)
		return Reordered
	}
	return Duplicated
}
