package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/fanout"
)

// crowd is what Redis has of a room in short.
type crowd struct {
	boots map[string]headcount
	users int // with a name
}

// headcount is one boot's part.
type headcount struct {
	number  string // of its last write
	clients int
	guests  int
}

// Count counts the clients in a room on all nodes, and the users; each guest is
// one.
func (r *Relay) Count(ctx context.Context, room string) (clients, users int, err error) {
	c, err := r.crowd(ctx, room)
	if err != nil {
		return 0, 0, err
	}
	users = c.users
	for _, h := range c.boots {
		clients += h.clients
		users += h.guests
	}
	return clients, users, nil
}

// List lists the clients in a room on all nodes. It returns false when there
// are more than the limit.
func (r *Relay) List(ctx context.Context, room string, limit int) (list []fanout.Client, complete bool, err error) {
	c, err := r.crowd(ctx, room)
	if err != nil {
		return nil, false, err
	}
	total := 0
	for _, h := range c.boots {
		total += h.clients
	}
	if total > limit {
		return nil, false, nil
	}
	state := r.keys.state(room)
	found := make(map[string]fanout.Client, total)
	for boot := range c.boots {
		err := r.scan(ctx, present(state, boot), func(entries map[string]string) error {
			for id, entry := range entries {
				if c, ok := parseClient(id, entry); ok {
					found[id] = c
				}
			}
			if len(found) > limit {
				return errTooMany
			}
			return nil
		})
		if errors.Is(err, errTooMany) {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, err
		}
	}
	for _, c := range found {
		list = append(list, c)
	}
	return list, true, nil
}

var errTooMany = errors.New("more than the limit")

// crowd reads a room in short: what living nodes have there.
func (r *Relay) crowd(ctx context.Context, room string) (crowd, error) {
	r.presence.settled(ctx, room)
	crowds, err := r.crowds(ctx, []string{room})
	if err != nil {
		return crowd{}, err
	}
	r.bury(ctx, []string{room}, crowds)
	return crowds[0], nil
}

// crowds reads several rooms.
func (r *Relay) crowds(ctx context.Context, rooms []string) ([]crowd, error) {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	calls := make([]call, len(rooms))
	for i, room := range rooms {
		calls[i] = call{attendedScript, r.presence.keys(room, r.boot), []string{decimal(r.cfg.Idle.Milliseconds())}}
	}
	list := make([]crowd, len(rooms))
	for i, result := range run(ctx, r.client, calls) {
		var err error
		if list[i], err = parseCrowd(result); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func parseCrowd(result rueidis.RedisResult) (c crowd, err error) {
	reply, err := result.ToArray()
	if err != nil {
		return c, err
	}
	if len(reply) != 2 {
		return c, errMalformed
	}
	fields, err := reply[0].AsStrMap()
	if err != nil {
		return c, err
	}
	users, err := reply[1].AsInt64()
	if err != nil {
		return c, err
	}
	c = crowd{make(map[string]headcount, len(fields)), int(users)}
	for boot, field := range fields {
		var h headcount
		if _, err := fmt.Sscan(field, &h.number, &h.clients, &h.guests); err != nil {
			h = headcount{number: "x"} // its boot will find that it is not its own, and write it anew
		}
		c.boots[boot] = h
	}
	return c, nil
}

// bury takes what dead nodes have left out of crowds, and has it taken out of
// Redis. Who is not known to live is asked after: it may be new.
func (r *Relay) bury(ctx context.Context, rooms []string, crowds []crowd) {
	if !r.trusts() {
		return // nobody could say that it is alive
	}
	alive := r.alive(r.cfg.Lease)
	doubtful := make(map[string]bool)
	for _, c := range crowds {
		for boot := range c.boots {
			if _, ok := alive[boot]; !ok && boot != r.boot {
				doubtful[boot] = true
			}
		}
	}
	for boot := range doubtful {
		n, err := r.client.Do(ctx, r.client.B().Exists().Key(r.keys.lease(boot)).Build()).AsInt64()
		if err != nil || n > 0 {
			delete(doubtful, boot)
		}
	}
	if len(doubtful) == 0 {
		return
	}
	for i, c := range crowds {
		for boot := range c.boots {
			if doubtful[boot] {
				delete(c.boots, boot)
				r.takeOut(rooms[i], boot)
			}
		}
	}
}

// takeOut takes a dead node's clients out of a room, in chunks.
func (r *Relay) takeOut(room, boot string) {
	r.onceAside("presence "+boot+room, func() {
		for cursor, first := "0", "1"; ; first = "0" {
			ctx, cancel := context.WithTimeout(r.ctx, silence)
			reply, err := call{absentScript, r.presence.keys(room, boot), []string{boot, cursor, decimal(attendClients), first}}.run(ctx, r.client).AsStrSlice()
			cancel()
			if r.ctx.Err() != nil {
				return
			}
			if err != nil && r.refusedBy(err) {
				return // contact has a line, and the next look finds it
			}
			if err != nil || len(reply) != 2 {
				r.rooms.warn(room, "a dead node's clients could not be taken out of a room yet", zap.String("boot", boot), zap.Error(err))
				return
			}
			if cursor = reply[0]; reply[1] == "0" {
				return
			}
		}
	})
}

// look asks for a look at all rooms soon.
func (p *presence) look() {
	select {
	case p.asked <- struct{}{}:
	default:
	}
}

// lookAll looks whether Redis still has what this node has written of its
// rooms, and what dead nodes have left there: when there is reason, which is
// when a feed comes back, a room is reset, this node's record is gone or another
// node has died; and every five minutes in any case. A look costs Redis a call
// for each room.
func (p *presence) lookAll() {
	r := p.relay
	tick := time.NewTicker(30 * r.cfg.Sweep)
	defer tick.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-tick.C:
		case <-p.asked:
		}
		for rooms := p.resting(); len(rooms) > 0 && r.ctx.Err() == nil; {
			n := min(len(rooms), attendRooms)
			p.compare(rooms[:n])
			rooms = rooms[n:]
		}
		select { // reasons come in crowds
		case <-r.ctx.Done():
			return
		case <-time.After(r.cfg.Sweep / 10):
		}
	}
}

// resting lists the rooms that are not being written to: a write notices by
// itself.
func (p *presence) resting() (rooms []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, a := range p.rooms {
		if !a.queued && !a.underWay {
			rooms = append(rooms, name)
		}
	}
	return rooms
}

func (p *presence) compare(rooms []string) {
	r := p.relay
	numbers := make([]uint64, len(rooms))
	p.mu.Lock()
	for i, room := range rooms {
		if a := p.rooms[room]; a != nil {
			numbers[i] = a.number
		}
	}
	p.mu.Unlock()
	crowds, err := r.crowds(r.ctx, rooms)
	if err != nil {
		return // the next look
	}
	p.mu.Lock()
	for i, room := range rooms {
		a := p.rooms[room]
		if a != nil && a.number == numbers[i] && !a.queued && !a.underWay && crowds[i].boots[r.boot].number != decimal(a.number) {
			p.forget(a)
			p.queue(a)
		}
	}
	p.mu.Unlock()
	r.bury(r.ctx, rooms, crowds)
}
