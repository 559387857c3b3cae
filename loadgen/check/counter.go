package check

// Members that only count have no place in a sequence: their number must rise
// as far as the room's does.

// Counter begins to count where the room is.
func (m *Room) Counter(r *Reader) { r.next, _ = m.end() }

// Count is n messages more.
func (r *Reader) Count(n uint64) { r.next += n }

// Counted is by how much a count is short of what it should be, or beyond.
func (m *Room) Counted(r *Reader) (missing, surplus uint64) {
	end, unseen := m.end()
	if r.next > end {
		return unseen, r.next - end
	}
	return end - r.next + unseen, 0
}
