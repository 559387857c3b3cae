package sessions

import (
	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/channels"
)

// Presence is derived: who is in a room is who is a member of it, so an idle
// connection pays nothing to be present, and nothing can disagree with it. A
// question visits the room's members, loop by loop.

func (s *session) presence(id uint32, channel string) {
	limit := s.lane().all.cfg.PresenceLimit
	clients := make(map[string]*protocol.ClientInfo)
	s.visit(id, channel, func(other *session) {
		if len(clients) <= limit {
			info := other.clientInfo()
			clients[info.Client] = info
		}
	}, func() (*protocol.Reply, error) {
		if len(clients) > limit {
			return nil, schema.ErrLimitExceeded.Because("too many members to list; ask for presence_stats")
		}
		return &protocol.Reply{Presence: &protocol.PresenceResult{Presence: clients}}, nil
	})
}

func (s *session) presenceStats(id uint32, channel string) {
	var clients, guests uint32
	users := make(map[string]struct{})
	s.visit(id, channel, func(other *session) {
		clients++
		if other.name() == "" {
			guests++ // each a user of its own
		} else {
			users[other.name()] = struct{}{}
		}
	}, func() (*protocol.Reply, error) {
		return &protocol.Reply{PresenceStats: &protocol.PresenceStatsResult{
			NumClients: clients, NumUsers: guests + uint32(len(users)),
		}}, nil
	})
}

// visit calls each for the sessions in a channel, on their loops but never at
// the same time, and answers the command with what result then returns.
func (s *session) visit(id uint32, channel string, each func(*session), result func() (*protocol.Reply, error)) {
	ln := s.lane()
	if _, err := s.authorize(channels.Presence, channel); err != nil {
		ln.fail(s, id, err)
		return
	}
	t := ln.await(s, id)
	answer := func() {
		ln.loop.Post(func() {
			w, ok := ln.waits.take(t)
			if !ok {
				return
			}
			r, err := result()
			if err != nil {
				ln.fail(w.session, w.id, err)
				return
			}
			r.Id = w.id
			ln.reply(w.session, r)
		})
	}
	room := ln.all.cfg.Hub.Loaded(channel)
	if room == nil {
		answer() // nobody is there
		return
	}
	ln.all.cfg.Hub.Visit(room, func(m *fanout.Member) {
		if other, ok := m.Peer().(*session); ok {
			each(other)
		}
	}, answer)
}
