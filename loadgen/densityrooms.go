package main

import (
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/pace"
	"github.com/hubbub-chat/hubbub/loadgen/report"
)

const (
	fillSteps      = 4      // in which rooms are filled, so that a line can be drawn through them
	fillRate       = 1000   // messages published a second, at most
	fillDeliveries = 50_000 // deliveries a second, at most
	fillDrain      = 10 * time.Second
)

// fill publishes to every room, in steps, and measures what the server keeps of it: a
// room with members holds its newest messages in memory, for those that come back.
func (d *densityCmd) fill(s *session, l *layout) *report.DensityRooms {
	part := &report.DensityRooms{Rooms: l.rooms, Payload: d.Payload}
	f, ctx := s.fleet, s.env.ctx
	rate := min(fillRate, fillDeliveries/float64(min(d.Members, l.conns)))
	said := int64(0)
	for step := 1; step <= fillSteps; step++ {
		messages := d.RoomMessages * step / fillSteps
		upto := int64(messages) * int64(l.rooms)
		if upto == said {
			continue
		}
		f.talk(&plan{Pacer: pace.Even(rate, upto-said), start: f.clock.now(), layout: l, skip: said})
		long := time.Duration(float64(upto-said) / rate * float64(time.Second))
		said = upto
		_, err := f.persist(ctx, long, fillDrain, s.tell, func(c *report.Snapshot) bool {
			missing, _ := f.missing()
			return c.Sent+c.Unsent == uint64(upto) && c.Pending() == 0 && missing == 0
		})
		if err != nil {
			s.report.Interrupted = true
			break
		}
		if _, interrupted := s.hold(d.Settle); interrupted {
			break
		}
		part.Steps = append(part.Steps, report.RoomStep{Messages: messages, RSSAnon: s.server().RSSAnon})
	}
	s.drain(fillDrain)
	s.report.Check = s.checked(1)
	return part
}
