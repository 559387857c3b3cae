package scenario

import "fmt"

// The limits of what can be meant.
const (
	maxPhases  = 1000
	maxRate    = 10_000_000
	MinPayload = 96 // bytes: what the checker writes into each message
	MaxPayload = 1 << 20
	maxPage    = 1000 // messages
)

// check reports the first value that cannot be meant.
func (s *Scenario) check() error {
	for _, check := range []func() error{s.checkClients, s.checkRooms, s.checkPhases} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Scenario) checkClients() error {
	switch {
	case s.Connections < 1:
		return fmt.Errorf("connections must be above 0")
	case s.ConnectRate <= 0 || s.ConnectRate > maxRate:
		return fmt.Errorf("connect_rate must be above 0 and at most %d a second", maxRate)
	case s.Payload.Least < MinPayload || s.Payload.Most > MaxPayload || s.Payload.Least > s.Payload.Most:
		return fmt.Errorf("payload must be from %d to %d bytes, the least not above the most", MinPayload, MaxPayload)
	case s.Talk != "" && s.Talk != "rooms" && s.Talk != "members":
		return fmt.Errorf("talk is %q, neither rooms nor members", s.Talk)
	case s.CountOnly < 0:
		return fmt.Errorf("count_only must not be below 0")
	case s.CountOnly > 0 && (s.Reconnect != nil || s.History || s.HistoryRate > 0 || s.Talk == "members"):
		return fmt.Errorf("count_only knows no offsets, which reconnect and history want; nor does it talk by members")
	case s.HistoryRate < 0 || s.HistoryRate > maxRate || s.HistoryPage < 1 || s.HistoryPage > maxPage:
		return fmt.Errorf("history_rate must be from 0 to %d pages/s, history_page from 1 to %d messages", maxRate, maxPage)
	case s.Reconnect != nil && s.Reconnect.Min.Value > s.Reconnect.Max.Value:
		return fmt.Errorf("reconnect.min is above reconnect.max")
	case s.Tokens != nil && s.Tokens.TTL.Value == 0:
		return fmt.Errorf("tokens.ttl must be above 0s")
	}
	return nil
}

func (s *Scenario) checkRooms() error {
	r := &s.Rooms
	if len(r.Groups) > 0 {
		members := 0
		for _, g := range r.Groups {
			if g.Count < 1 || g.Members < 1 || g.Count > 1e7 || g.Members > 1e7 {
				return fmt.Errorf("rooms.groups: count and members must be above 0")
			}
			members += g.Count * g.Members
		}
		if r.Count != 0 || r.Sizes != "" || members != s.Connections {
			return fmt.Errorf("rooms.groups stands alone, and its members must be as many as connections: they are %d of %d", members, s.Connections)
		}
		return nil
	}
	switch {
	case r.Count < 1 || r.Count > s.Connections:
		return fmt.Errorf("rooms must be from 1 to connections (%d)", s.Connections)
	case r.Sizes != "" && r.Sizes != "even" && r.Sizes != "zipf":
		return fmt.Errorf("rooms.sizes is %q, neither even nor zipf", r.Sizes)
	case r.Exponent < 0 || r.Exponent > 5 || r.Exponent != 0 && r.Sizes != "zipf":
		return fmt.Errorf("rooms.exponent must be above 0 and at most 5, with sizes: zipf")
	}
	return nil
}

func (s *Scenario) checkPhases() error {
	if len(s.Phases) == 0 || len(s.Phases) >= maxPhases {
		return fmt.Errorf("phases must be from 1 to %d", maxPhases-1)
	}
	for i := range s.Phases {
		p := &s.Phases[i]
		switch r := p.Rate; {
		case p.For.Value <= 0:
			return fmt.Errorf("%s: for must be above 0s", p.Name)
		case r.From < 0 || r.To < 0 || r.From > maxRate || r.To > maxRate:
			return fmt.Errorf("%s: rate must be from 0 to %d messages/s", p.Name, maxRate)
		case p.Repeat < 0 || p.Back < 0 || p.Back > i:
			return fmt.Errorf("%s: repeat and back must not be below 0, nor back above the phases before it", p.Name)
		}
		if a := p.Do; a != nil {
			if a.Cut.Given() && s.Reconnect == nil {
				return fmt.Errorf("%s: cut wants reconnect, or the connections would be gone for good", p.Name)
			}
			still := a.Silence.Given() || a.Stall.Given()
			if !a.Cut.Given() && !still && len(a.Command) == 0 {
				return fmt.Errorf("%s: do wants cut, silence, stall or command", p.Name)
			}
			if a.For.Value > 0 && !still {
				return fmt.Errorf("%s: do.for is how long a silence or a stall is", p.Name)
			}
		}
	}
	return nil
}
