package redis

import (
	"context"
	"strings"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/fanout"
)

// roll is what one call is to write of a room.
type roll struct {
	attendance *attendance
	number     uint64
	any        bool // what was written before does not matter
	pairs      []string
}

const (
	settleTime    = 250 * time.Millisecond
	presenceRetry = 500 * time.Millisecond
)

// attendAll is a worker that writes who comes and goes.
func (p *presence) attendAll() {
	for {
		list, anew := p.take()
		switch {
		case len(list) == 0:
			return
		case anew:
			p.attendAnew(list[0])
		default:
			p.attendSome(list)
		}
	}
}

// attendSome writes some changes of each room.
func (p *presence) attendSome(list []*attendance) {
	rolls := make([]roll, len(list))
	p.mu.Lock()
	for i, a := range list {
		r := roll{attendance: a, number: a.number + 1}
		for client, entry := range a.changes {
			r.pairs = append(r.pairs, client, entry)
			delete(a.changes, client)
			if len(r.pairs) == 2*attendClients {
				break
			}
		}
		p.pending -= len(r.pairs) / 2
		rolls[i] = r
	}
	p.mu.Unlock()
	results := p.write(rolls)
	for i, r := range rolls {
		whole, members, err := parseAttended(results[i])
		a := r.attendance
		p.mu.Lock()
		if err == nil {
			a.wrote(r.number, members)
			if !whole {
				p.forget(a)
			}
			p.finish(a)
			p.mu.Unlock()
			continue
		}
		p.back(r)
		p.mu.Unlock()
		p.later(a, err)
	}
}

// write calls attend.lua for each roll.
func (p *presence) write(rolls []roll) []rueidis.RedisResult {
	r := p.relay
	calls := make([]call, len(rolls))
	for i, l := range rolls {
		before := decimal(l.number - 1)
		if l.any {
			before = ""
		}
		args := append([]string{r.boot, decimal(l.number), before, decimal(r.cfg.Idle.Milliseconds())}, l.pairs...)
		calls[i] = call{attendScript, p.keys(l.attendance.room, r.boot), args}
	}
	ctx, cancel := context.WithTimeout(context.Background(), silence)
	defer cancel()
	return run(ctx, r.client, calls)
}

// keys are those of all three scripts.
func (p *presence) keys(room, boot string) []string {
	state := p.relay.keys.state(room)
	return []string{boots(state), users(state), present(state, boot)}
}

func parseAttended(result rueidis.RedisResult) (whole bool, members int, err error) {
	reply, err := result.AsIntSlice()
	if err != nil {
		return false, 0, err
	}
	if len(reply) != 2 {
		return false, 0, errMalformed
	}
	return reply[0] == 1, int(reply[1]), nil
}

// wrote takes the answer to a write. Of a room without clients Redis has no
// number: the next write is the first. Called with mu held.
func (a *attendance) wrote(number uint64, members int) {
	if a.number, a.members = number, members; members == 0 {
		a.number = 0
	}
}

// back notes again what could not be written, unless there is later news.
// Whether it was written nobody knows: to write it twice changes nothing, and
// the number stays the same. Called with mu held.
func (p *presence) back(r roll) {
	a := r.attendance
	if a.anew {
		return
	}
	if a.changes == nil {
		a.changes = make(map[string]string)
	}
	for i := 0; i < len(r.pairs); i += 2 {
		if _, later := a.changes[r.pairs[i]]; !later {
			a.changes[r.pairs[i]] = r.pairs[i+1]
			p.pending++
		}
	}
	if p.pending > maxChanges {
		p.forget(a)
	}
}

// later has a room written again, but not at once.
func (p *presence) later(a *attendance, err error) {
	if !p.relay.refusedBy(err) {
		p.relay.rooms.warn(a.room, "Redis refuses to keep who is in a room", zap.Error(err))
	}
	time.AfterFunc(presenceRetry, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.finish(a)
	})
}

// attendAnew writes all who are in a room on this node, and takes out of Redis
// who is not. What changes meanwhile is noted, and written afterwards: it is
// later news.
func (p *presence) attendAnew(a *attendance) {
	list, err := p.members(a.room)
	if err == nil {
		err = p.assert(a, list)
	}
	if err != nil {
		p.mu.Lock()
		p.forget(a)
		p.mu.Unlock()
		p.later(a, err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finish(a)
}

// members asks the hub who is in a room.
func (p *presence) members(room string) (list []fanout.Client, err error) {
	r := p.relay.hub.Loaded(room)
	if r == nil {
		return nil, nil // nobody
	}
	done := make(chan []fanout.Client, 1)
	var clients []fanout.Client // the loops are visited one after another
	p.relay.hub.Visit(r, func(m *fanout.Member) {
		if who, ok := m.Peer().(fanout.Present); ok {
			clients = append(clients, who.Client())
		}
	}, func() { done <- clients })
	select {
	case list = <-done:
		return list, nil
	case <-p.relay.ctx.Done():
		return nil, context.Canceled
	}
}

// assert makes Redis have just these clients of this node.
func (p *presence) assert(a *attendance, list []fanout.Client) error {
	there := make(map[string]struct{}, len(list))
	for _, c := range list {
		there[c.ID] = struct{}{}
	}
	for first := true; first || len(list) > 0; first = false {
		n := min(len(list), attendClients)
		pairs := make([]string, 0, 2*n)
		for _, c := range list[:n] {
			pairs = append(pairs, c.ID, appendEntry(c))
		}
		if err := p.put(a, pairs); err != nil {
			return err
		}
		list = list[n:]
	}
	if a.members == len(there) { // the attendance is this worker's
		return nil
	}
	r := p.relay
	return r.scan(r.ctx, present(r.keys.state(a.room), r.boot), func(entries map[string]string) error {
		var pairs []string
		for client := range entries {
			if _, ok := there[client]; !ok {
				pairs = append(pairs, client, "")
			}
		}
		return p.put(a, pairs)
	})
}

// put writes what there is no later news of.
func (p *presence) put(a *attendance, pairs []string) error {
	r := roll{attendance: a, any: true}
	p.mu.Lock()
	r.number = a.number + 1
	for i := 0; i < len(pairs); i += 2 {
		if _, later := a.changes[pairs[i]]; !later {
			r.pairs = append(r.pairs, pairs[i], pairs[i+1])
		}
	}
	p.mu.Unlock()
	_, members, err := parseAttended(p.write([]roll{r})[0])
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	a.wrote(r.number, members)
	return nil
}

// scan reads a hash in pages. A field may come twice.
func (r *Relay) scan(ctx context.Context, key string, page func(map[string]string) error) error {
	for cursor := uint64(0); ; {
		once, cancel := context.WithTimeout(ctx, silence)
		e, err := r.client.Do(once, r.client.B().Hscan().Key(key).Cursor(cursor).Count(presencePages).Build()).AsScanEntry()
		cancel()
		if err != nil {
			return err
		}
		entries := make(map[string]string, len(e.Elements)/2)
		for i := 0; i+1 < len(e.Elements); i += 2 {
			entries[strings.Clone(e.Elements[i])] = e.Elements[i+1]
		}
		if err := page(entries); err != nil {
			return err
		}
		if cursor = e.Cursor; cursor == 0 {
			return nil
		}
	}
}
