package main

// Members that only count have no place in a sequence: their number must rise
// as far as the room's does.

// counter begins to count where the room is.
func (m *room) counter(r *reader) { r.next, _ = m.end() }

// count is n messages more.
func (r *reader) count(n uint64) { r.next += n }

// counted is by how much a count is short of what it should be, or beyond.
func (m *room) counted(r *reader) (missing, surplus uint64) {
	end, unseen := m.end()
	if r.next > end {
		return unseen, r.next - end
	}
	return end - r.next + unseen, 0
}
