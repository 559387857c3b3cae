package api

import (
	"context"
	"time"

	"github.com/hubbub-chat/hubbub/schema"
)

// channelList is the channels that have members.
type channelList struct {
	Pattern string `json:"pattern"`
}

type channelTable struct {
	Channels map[string]channelCounts `json:"channels"`
}

type channelCounts struct {
	Clients int `json:"num_clients"`
}

func (l *channelList) run(_ context.Context, a *API) pending {
	if len(l.Pattern) > schema.MaxChannelLen {
		return done(nil, schema.ErrBadRequest.Because("pattern is longer than 255 bytes"))
	}
	table, complete := channelTable{make(map[string]channelCounts)}, true
	a.cfg.Hub.Active(func(name string, members int) bool {
		if l.Pattern != "" && !match(l.Pattern, name) {
			return true
		}
		complete = len(table.Channels) < maxChannels
		if complete {
			table.Channels[name] = channelCounts{members}
		}
		return complete
	})
	if !complete {
		return done(nil, schema.ErrLimitExceeded.Because("too many channels to list; give a pattern"))
	}
	return done(table, nil)
}

// match reports whether a name is matched by a pattern, in which * stands for
// any characters, none included, and ? for one.
func match(pattern, name string) bool {
	p, n := []rune(pattern), []rune(name)
	star, from := -1, 0 // the last * passed, and where it ends in the name
	i, j := 0, 0
	for j < len(n) {
		switch {
		case i < len(p) && p[i] == '*':
			star, from = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == n[j]):
			i++
			j++
		case star >= 0: // the * takes one more
			from++
			i, j = star+1, from
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

// info is about the nodes.
type info struct{}

type nodes struct {
	Nodes []Node `json:"nodes"`
}

// Node is what a node tells of itself.
type Node struct {
	UID      string `json:"uid"`
	Name     string `json:"name"`
	Version  string `json:"version"`
	Uptime   int64  `json:"uptime"` // seconds
	Clients  int    `json:"num_clients"`
	Users    int    `json:"num_users"`
	Subs     int64  `json:"num_subs"`
	Channels int    `json:"num_channels"`
}

func (*info) run(ctx context.Context, a *API) pending {
	list, err := a.cfg.Cluster.Nodes(ctx)
	return done(nodes{list}, err)
}

// usersAge is for how long a count of users is good: it goes through all
// sessions, and info is what monitors ask for.
const usersAge = time.Second

// Node tells of this node. The count of users may be so old. Never call it on
// a loop.
func (a *API) Node(age time.Duration) Node {
	n := Node{
		UID: a.cfg.UID, Name: a.cfg.Name, Version: a.cfg.Version, Uptime: int64(time.Since(a.began) / time.Second),
		Clients: a.cfg.Sessions.Connected(), Users: a.countUsers(max(age, usersAge)), Subs: a.cfg.Hub.Stats().Members,
	}
	a.cfg.Hub.Active(func(string, int) bool { n.Channels++; return true })
	return n
}

func (a *API) countUsers(age time.Duration) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.counted) > age {
		a.users, a.counted = a.cfg.Sessions.Users(), time.Now()
	}
	return a.users
}
