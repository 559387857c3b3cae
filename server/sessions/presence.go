package sessions

import (
	"context"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/channels"
)

// Presence knows who is in which channel, on all nodes.
type Presence interface {
	// Join says that a client of this node is in a channel; it may have been
	// before. It never blocks.
	Join(channel string, c fanout.Client)
	// Leave says that it is not any more. It never blocks.
	Leave(channel, client string)
	// List lists the clients. It returns false when there are more than the
	// limit.
	List(ctx context.Context, channel string, limit int) (list []fanout.Client, complete bool, err error)
	// Count counts the clients and the users; each guest is one.
	Count(ctx context.Context, channel string) (clients, users int, err error)
}

// derived is the presence of a node alone: who is in a room is who is a member
// of it, so an idle connection pays nothing to be present, and nothing can
// disagree with it. A question visits the room's members, loop by loop.
type derived struct{ hub *fanout.Hub }

// Join implements Presence: the hub knows.
func (d derived) Join(string, fanout.Client) {}

// Leave implements Presence.
func (d derived) Leave(string, string) {}

// List implements Presence.
func (d derived) List(ctx context.Context, channel string, limit int) (list []fanout.Client, complete bool, err error) {
	var all []fanout.Client
	err = d.visit(ctx, channel, func(c fanout.Client) {
		if len(all) <= limit {
			all = append(all, c)
		}
	})
	if err != nil {
		return nil, false, err // the visit may still go on
	}
	return all, len(all) <= limit, nil
}

// Count implements Presence.
func (d derived) Count(ctx context.Context, channel string) (clients, users int, err error) {
	n, guests, names := 0, 0, make(map[string]struct{})
	err = d.visit(ctx, channel, func(c fanout.Client) {
		n++
		if c.User == "" {
			guests++
		} else {
			names[c.User] = struct{}{}
		}
	})
	if err != nil {
		return 0, 0, err
	}
	return n, guests + len(names), nil
}

// visit calls f for the clients in a channel, on their loops but never two at
// the same time, and returns when it is done.
func (d derived) visit(ctx context.Context, channel string, f func(fanout.Client)) error {
	room := d.hub.Loaded(channel)
	if room == nil {
		return nil // nobody is there
	}
	finished := make(chan struct{})
	d.hub.Visit(room, func(m *fanout.Member) {
		if p, ok := m.Peer().(fanout.Present); ok {
			f(p.Client())
		}
	}, func() { close(finished) })
	select {
	case <-finished:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// joined and left tell of a member that has come, where presence is on, and has
// gone. A node alone need not name it for that.
func (s *session) joined(room *fanout.Room) {
	all := s.lane().all
	if all.alone {
		return
	}
	if rules, err := all.cfg.Policy.Of(room.Name()); err == nil && rules.Presence != channels.Off {
		all.cfg.Presence.Join(room.Name(), s.Client())
	}
}

func (s *session) left(room *fanout.Room) {
	if all := s.lane().all; !all.alone {
		all.cfg.Presence.Leave(room.Name(), s.clientID())
	}
}

// Presence lists who is in a channel, by client. With more than PresenceLimit
// of them it is an error. Never call it on a loop.
func (all *Sessions) Presence(ctx context.Context, channel string) (map[string]*protocol.ClientInfo, error) {
	list, complete, err := all.cfg.Presence.List(ctx, channel, all.cfg.PresenceLimit)
	if err != nil {
		return nil, err
	}
	if !complete {
		return nil, schema.ErrLimitExceeded.Because("too many members to list; ask for presence_stats")
	}
	clients := make(map[string]*protocol.ClientInfo, len(list))
	for _, c := range list {
		clients[c.ID] = clientInfo(c)
	}
	return clients, nil
}

// PresenceStats counts the clients, and the users, in a channel. Never call it
// on a loop.
func (all *Sessions) PresenceStats(ctx context.Context, channel string) (clients, users int, err error) {
	return all.cfg.Presence.Count(ctx, channel)
}

func (s *session) presence(id uint32, channel string) {
	all := s.lane().all
	s.ask(id, channel, func(ctx context.Context) (*protocol.Reply, error) {
		clients, err := all.Presence(ctx, channel)
		return &protocol.Reply{Presence: &protocol.PresenceResult{Presence: clients}}, err
	})
}

func (s *session) presenceStats(id uint32, channel string) {
	all := s.lane().all
	s.ask(id, channel, func(ctx context.Context) (*protocol.Reply, error) {
		clients, users, err := all.PresenceStats(ctx, channel)
		return &protocol.Reply{PresenceStats: &protocol.PresenceStatsResult{
			NumClients: uint32(clients), NumUsers: uint32(users),
		}}, err
	})
}

// ask answers a command about who is there with what the question, off the
// loop, returns.
func (s *session) ask(id uint32, channel string, question func(context.Context) (*protocol.Reply, error)) {
	ln := s.lane()
	if _, err := s.authorize(channels.Presence, channel); err != nil {
		ln.fail(s, id, err)
		return
	}
	t := ln.await(s, id)
	answer := func(r *protocol.Reply, err error) {
		w, ok := ln.waits.take(t)
		if !ok {
			return
		}
		if err != nil {
			ln.fail(w.session, w.id, err)
			return
		}
		r.Id = w.id
		ln.reply(w.session, r)
	}
	if !ln.all.cfg.Reads.Do(func(ctx context.Context) {
		r, err := question(ctx)
		ln.loop.Post(func() { answer(r, err) })
	}) {
		answer(nil, schema.ErrTooManyRequests)
	}
}
