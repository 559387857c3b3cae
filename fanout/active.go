package fanout

// Active calls visit for the rooms that have members on this node, in no
// order, until it returns false. Rooms that come or go meanwhile may be missed.
// Any goroutine may call it; visit must not block or call the hub.
func (h *Hub) Active(visit func(room string, members int) bool) {
	// Nobody may come into a room while a writer waits for the lock: it is
	// given up now and then. The language allows a map to change in a range.
	const rooms = 256
	h.mu.RLock()
	defer h.mu.RUnlock()
	n := 0
	for name, r := range h.rooms {
		if members := r.members.Load(); members > 0 && !visit(name, int(members)) {
			return
		}
		if n++; n%rooms == 0 {
			h.mu.RUnlock()
			h.mu.RLock()
		}
	}
}
