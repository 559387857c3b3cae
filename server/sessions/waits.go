package sessions

import "time"

// wait is a command that has yet to be answered.
type wait struct {
	session  *session
	id       uint32 // of the command
	deadline time.Time
	answered bool
}

// ticket names a wait. It outlives it.
type ticket uint64

// waits are a lane's unanswered commands in the order of their deadlines,
// which is the order they came in: all have the same time. So finding the
// expired ones costs nothing, and there is no timer.
type waits struct {
	list      []wait
	first     ticket // of list[0]
	departing departing
}

func (w *waits) add(x wait) ticket {
	w.list = append(w.list, x)
	w.departing.change(x.session, 1)
	return w.first + ticket(len(w.list)-1)
}

// open reports whether a wait has still to be answered.
func (w *waits) open(t ticket) bool { return t >= w.first && !w.list[t-w.first].answered }

// take answers a wait. It returns false when its time was up before.
func (w *waits) take(t ticket) (wait, bool) {
	if t < w.first {
		return wait{}, false
	}
	x := &w.list[t-w.first]
	if x.answered {
		return wait{}, false
	}
	x.answered = true
	w.departing.change(x.session, -1)
	return *x, true
}

// expire forgets answered waits and calls late for those whose time is up.
func (w *waits) expire(now time.Time, late func(wait)) {
	n := 0
	for n < len(w.list) {
		x := &w.list[n]
		if !x.answered {
			if now.Before(x.deadline) {
				break
			}
			late(*x)
			w.departing.change(x.session, -1)
		}
		x.session = nil
		n++
	}
	w.first += ticket(n)
	if w.list = w.list[n:]; len(w.list) == 0 {
		w.list = nil
	}
}
