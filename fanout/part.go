package fanout

// part is the share of a room that one shard serves in one form. Its inside
// is owned by that shard's loop.
//
// Members are written to in passes. A pass goes over all members once, in
// slices of as many writes as the turn has left; what is appended while it is
// under way is written to those it has still to reach, and a further pass
// takes care of the others. Members the pass has behind it are members[:at].
//
// A member whose socket is full is passed over; when it drains, its session
// calls Drained. A member that is caught up costs a comparison.
type part struct {
	room  *Room
	shard *Shard
	form  Form
	epoch string // of the history it delivers

	log     log
	last    uint64 // offset of the newest message in the log, or before it
	members []*Member

	dirty     bool   // in shard.dirty
	open      bool   // in shard.unsealed
	congested bool   // counted in room.congested
	at        int    // the pass has members[:at] behind it
	began     uint64 // the log's end when the pass began
	lowest    uint64 // the lowest cursor the pass has seen
}

// append adds a message to the log.
func (p *part) append(offset uint64, message []byte, compressed bool) {
	if len(p.members) == 0 {
		return // left behind by the last member
	}
	op, delimiter := byte(opText), jsonDelimiter
	if p.form.Codec().Binary() {
		op, delimiter = opBinary, nil
	}
	if p.log.buf == nil {
		p.log.buf = p.shard.takeBuffer()
	}
	if compressed {
		p.log.appendAlone(op|compressedBit, message)
	} else {
		p.log.append(op, delimiter, message)
	}
	if offset != 0 {
		p.last = offset
	}
	if !p.open {
		p.open = true
		p.shard.unsealed = append(p.shard.unsealed, p)
	}
	p.markDirty()
}

var jsonDelimiter = []byte{'\n'}

func (p *part) seal() { p.log.seal() }

func (p *part) markDirty() {
	if !p.dirty {
		p.dirty = true
		p.shard.dirty = append(p.shard.dirty, p)
	}
}

// add puts a new member at the end of the log.
func (p *part) add(m *Member, peer Peer) {
	p.seal()
	*m = Member{peer: peer, part: p, cursor: p.log.end(), index: int32(len(p.members))}
	p.members = append(p.members, m)
}

// remove takes a member out, without disturbing a pass: a member the pass has
// behind it must not be replaced by one it has before it.
func (p *part) remove(m *Member) {
	i := int(m.index)
	if i < p.at {
		p.at--
		p.place(i, p.members[p.at])
		i = p.at
	}
	end := len(p.members) - 1
	if i < end { // else the last place is the one that is free
		p.place(i, p.members[end])
	}
	p.members[end] = nil
	p.members = p.members[:end]
	m.part = nil
	p.shard.members.Add(-1)
	p.room.members.Add(-1)
	if end == 0 {
		p.close()
	} else if p.log.buf != nil {
		p.markDirty() // perhaps it was the one for whom the log was kept
	}
}

func (p *part) place(i int, m *Member) {
	p.members[i] = m
	m.index = int32(i)
}

// close gives up a part whose last member has left.
func (p *part) close() {
	p.setCongested(false)
	p.rest()
	r := p.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := p.shard.slot(p.form); r.parts[i] == p { // else the room has been reset
		r.parts[i] = nil
	}
	r.used = r.hub.now()
}

// reset takes all members out, because the room has another history now.
func (p *part) reset() {
	for len(p.members) > 0 {
		m := p.members[len(p.members)-1]
		m.peer.Reset(m)
		m.Leave() // if the session has not done so
	}
}

// rest gives the log's buffer back: a part at rest holds none.
func (p *part) rest() {
	p.log.base = p.log.end()
	p.log.seal()
	p.shard.giveBuffer(p.log.buf)
	p.log.buf = nil
}

// flush goes on with the pass for at most budget writes, and returns what is
// left of them. The part is clean when it returns true: a pass is through,
// and nothing was appended since it began.
func (p *part) flush(budget int) (int, bool) {
	end := p.log.end()
	if p.at == 0 {
		p.began, p.lowest = end, end
	}
	for p.at < len(p.members) && budget > 0 {
		m := p.members[p.at]
		if m.cursor < end && !m.paused && !m.peer.Blocked() {
			m.send()
			budget--
		}
		p.lowest = min(p.lowest, m.cursor)
		p.at++
	}
	if p.at < len(p.members) {
		return budget, false
	}
	p.at = 0
	p.shard.passes.Add(1)
	p.setCongested(false)
	if p.lowest == end {
		p.rest()
	} else {
		p.log.trim(p.lowest)
	}
	return budget, p.began == end
}

// bound is called when the log has grown. Members that do not read are closed
// when they are further behind than half of the bound, those that catch up
// are told that they lost the log. When it is the shard that is behind, the
// room is congested: its messages are refused until a pass is through; only
// at four times the bound are members closed that would read.
func (p *part) bound() {
	limit := p.shard.hub.cfg.LogBytes
	if len(p.log.buf) <= limit {
		return
	}
	p.setCongested(true)
	hard := len(p.log.buf) > 4*limit
	oldest := p.log.end() - uint64(limit/2)
	lowest := p.log.end()
	for i := len(p.members) - 1; i >= 0; i-- { // removal moves later ones
		m := p.members[i]
		if m.cursor < oldest {
			switch {
			case m.paused:
				m.lost, m.cursor = true, p.log.end()
			case hard || m.peer.Blocked():
				p.shard.slow.Add(1)
				m.Leave()
				m.peer.TooSlow(p.room)
				continue
			}
		}
		lowest = min(lowest, m.cursor)
	}
	if len(p.members) > 0 {
		p.log.trim(lowest)
		p.lowest = min(p.lowest, lowest)
		if len(p.log.buf) <= limit {
			p.setCongested(false)
		}
	}
}

func (p *part) setCongested(v bool) {
	if v == p.congested {
		return
	}
	p.congested = v
	if v {
		p.room.congested.Add(1)
	} else {
		p.room.congested.Add(-1)
	}
}
