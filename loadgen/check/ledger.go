package check

// ledger is what became of the messages published to one room, by their
// number. A byte is kept of each until it is settled.
type ledger struct {
	base   uint32 // number of states[0]; all below are settled
	states []uint8
	trimAt int
	unseen uint64 // acknowledged and seen by nobody yet

	// Only of a room that other processes have members of: messages of other
	// publishers are not this ledger's, and nothing is forgotten.
	shared        bool
	first, behind uint32

	// Only where what was acknowledged is wanted at the end.
	keep  bool
	early map[uint32]uint64 // offsets of messages that were seen and not yet acknowledged
	acked []Entry           // in the order in which both had come
}

const (
	isSent uint8 = 1 << iota
	isAcked
	isSeen
	isRefused // answered with an error: it may be seen ("maybe") or not
)

// ledgerWindow is how many messages later one that was refused, or never
// sent, is settled although it may still be seen.
const ledgerWindow = 1 << 16

func (l *ledger) share(first, behind uint32) { l.shared, l.first, l.behind = true, first, behind }

func (l *ledger) sent(n uint32) { l.mark(n, isSent) }

func (l *ledger) refuse(n uint32) {
	l.mark(n, isRefused)
	delete(l.early, n)
}

func (l *ledger) ack(id uint64) {
	n := uint32(id)
	if l.mark(n, isAcked)&isSeen == 0 {
		l.unseen++
		return
	}
	if offset, ok := l.early[n]; ok {
		l.acked = append(l.acked, Entry{offset, id})
		delete(l.early, n)
	}
}

// see is called when the room sees a message for the first time under one
// offset.
func (l *ledger) see(e Entry) Verdict {
	n := uint32(e.ID)
	if l.shared {
		l.seeShared(e.ID)
		return InOrder // what is wrong with it, the union says
	}
	if n < l.base {
		return Duplicated
	}
	if i := n - l.base; int(i) >= len(l.states) || l.states[i] == 0 {
		return Unexpected // nobody said it
	}
	was := l.mark(n, isSeen)
	switch {
	case was&isSeen != 0:
		return Duplicated
	case was&isAcked != 0:
		l.unseen--
		if l.keep {
			l.acked = append(l.acked, e)
		}
	case l.keep && was&isRefused == 0:
		if l.early == nil {
			l.early = map[uint32]uint64{}
		}
		l.early[n] = e.Offset
	}
	return InOrder
}

func (l *ledger) seeShared(id uint64) {
	publisher, n := uint32(id>>32), uint32(id)
	if publisher < l.first || publisher >= l.behind || int(n) >= len(l.states) {
		return // another's, or nobody's
	}
	if l.mark(n, isSeen)&(isAcked|isSeen) == isAcked {
		l.unseen--
	}
}

// mark adds to the state of message n and returns what it was. An answer to a
// message that is already settled changes nothing.
func (l *ledger) mark(n uint32, bit uint8) (was uint8) {
	if n < l.base {
		return isSeen
	}
	i := int(n - l.base)
	for len(l.states) <= i {
		l.states = append(l.states, 0)
	}
	was = l.states[i]
	l.states[i] |= bit
	if len(l.states) > max(l.trimAt, trimEntries) && !l.shared {
		l.trim()
	}
	return was
}

// trim forgets the settled messages at the front.
func (l *ledger) trim() {
	i := 0
	for i < len(l.states) && l.settled(i) {
		i++
	}
	l.states = append(l.states[:0], l.states[i:]...)
	l.base += uint32(i)
	l.trimAt = 2 * len(l.states)
}

func (l *ledger) settled(i int) bool {
	s := l.states[i]
	if s&isSeen != 0 {
		return s&(isAcked|isRefused) != 0
	}
	return s&isAcked == 0 && (s == 0 || s&isRefused != 0) && len(l.states)-i > ledgerWindow
}
