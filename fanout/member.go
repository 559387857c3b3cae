package fanout

// Peer is a member's connection. All calls come on its shard's loop.
type Peer interface {
	// Send offers whole frames and returns how many bytes were taken, a
	// number that ends on a frame. When that is fewer, Blocked is true until
	// the session calls Member.Drained.
	Send(frames []byte) int
	// Blocked reports whether the peer has bytes it does not take.
	Blocked() bool
	// TooSlow says that the member fell further behind than the log's
	// bound. It has been taken out of the room; the session closes.
	TooSlow(*Room)
	// Reset says that the room's history is another now. The member is taken
	// out of the room, by the session or after the call; the client is to come
	// back and see what it can recover.
	Reset(*Member)
}

// Member is one subscription: a connection's cursor into a part's log. It is
// owned by its shard's loop, and embedded in what the session remembers of
// the subscription.
type Member struct {
	peer   Peer
	part   *part // nil before Join and after Leave
	cursor uint64
	index  int32 // in part.members
	paused bool  // still catching up: not written to
	lost   bool  // while paused, the log went on without it
}

// Room is the room the member is in, nil when it is in none.
func (m *Member) Room() *Room {
	if m.part == nil {
		return nil
	}
	return m.part.room
}

// Epoch names the history that the member is served from.
func (m *Member) Epoch() string {
	if m.part == nil {
		return ""
	}
	return m.part.epoch
}

// Peer is the connection the member was made with.
func (m *Member) Peer() Peer { return m.peer }

// Pause keeps live messages in the log until Resume: the member is catching
// up with older ones.
func (m *Member) Pause() { m.paused, m.lost = true, false }

// Resume ends Pause. It returns false when more was published meanwhile than
// the log holds: the member then stands, still paused, behind the returned
// offset, and has to catch up with what lies before that.
func (m *Member) Resume() (position uint64, live bool) {
	if m.lost {
		m.lost = false
		m.part.seal()
		m.cursor = m.part.log.end()
		return m.part.last, false
	}
	m.paused = false
	m.part.markDirty()
	return 0, true
}

// Drained writes what gathered while the peer was blocked, or what has not
// been written yet.
func (m *Member) Drained() {
	if m.part != nil && !m.paused && !m.peer.Blocked() && m.cursor < m.part.log.end() {
		m.send()
		m.part.markDirty() // for a pass to trim the log
	}
}

// send offers the member what stands behind its cursor.
func (m *Member) send() {
	m.cursor += uint64(m.peer.Send(m.part.log.from(m.cursor)))
}

// Leave takes the member out of its room. Nothing reaches it afterwards.
func (m *Member) Leave() {
	if m.part != nil {
		m.part.remove(m)
	}
}
