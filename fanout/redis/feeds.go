package redis

import (
	"context"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/fanout"
)

// feeds is all rooms in memory, and which primary each is heard from.
type feeds struct {
	relay *Relay
	look  chan struct{} // of size 1: the primaries may have changed

	unread atomic.Bool // the slots could not be read at the last look

	mu    sync.RWMutex
	links map[string]*link // by channel
	feeds map[string]*running
	slots []string // of a cluster: addresses by slot; nil where there is one primary
}

// running is a feed and what stops it.
type running struct {
	*feed
	stop context.CancelFunc
}

const clusterSlots = 16384

func newFeeds(r *Relay) *feeds {
	return &feeds{relay: r, look: make(chan struct{}, 1), links: make(map[string]*link), feeds: make(map[string]*running)}
}

// open begins to listen to a room.
func (fs *feeds) open(room *fanout.Room, done func(error)) {
	channel := fs.relay.keys.state(room.Name())
	fs.mu.Lock()
	l := &link{relay: fs.relay, room: room, channel: channel, slot: fs.slot(channel), done: done}
	old := fs.links[channel]
	fs.links[channel] = l
	f := fs.feedOf(l.slot)
	l.feed = f
	fs.mu.Unlock()
	if old != nil { // it was forgotten, or has failed just now
		old.feed.remove(old)
	}
	if f == nil || !f.add(l) && !fs.starting(f) {
		l.failed(ErrUnavailable)
	}
}

// starting reports whether a feed has not had the time to connect yet.
func (fs *feeds) starting(f *feed) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.tried
}

// close stops listening to a room that the hub has forgotten.
func (fs *feeds) close(room *fanout.Room) {
	fs.mu.Lock()
	channel := fs.relay.keys.state(room.Name())
	l := fs.links[channel]
	if l == nil || l.room != room {
		fs.mu.Unlock()
		return
	}
	delete(fs.links, channel)
	f := l.feed
	fs.mu.Unlock()
	if f != nil {
		f.remove(l)
	}
}

// forget takes a room off that could not be opened.
func (fs *feeds) forget(l *link) {
	fs.mu.Lock()
	if fs.links[l.channel] == l {
		delete(fs.links, l.channel)
	}
	f := l.feed
	fs.mu.Unlock()
	if f != nil {
		f.remove(l)
	}
}

func (fs *feeds) byChannel(channel string) *link {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	return fs.links[channel]
}

// known is where a room stands on this node: no epoch and 0 where it is not
// in memory.
func (fs *feeds) known(room string) (epoch string, last uint64) {
	if l := fs.byChannel(fs.relay.keys.state(room)); l != nil {
		return l.room.End()
	}
	return "", 0
}

// all returns the rooms in memory.
func (fs *feeds) all() []*link {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	list := make([]*link, 0, len(fs.links))
	for _, l := range fs.links {
		list = append(list, l)
	}
	return list
}

func (fs *feeds) count() (rooms, connected int) {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	for _, f := range fs.feeds {
		if f.connected() {
			connected++
		}
	}
	return len(fs.links), connected
}

// hears reports whether the primary of a room is connected.
func (fs *feeds) hears(l *link) bool {
	fs.mu.RLock()
	f := l.feed
	fs.mu.RUnlock()
	return f != nil && f.connected()
}

// connected reports whether every feed is.
func (fs *feeds) connected() bool {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	for _, f := range fs.feeds {
		if !f.connected() {
			return false
		}
	}
	return len(fs.feeds) > 0
}

// changed asks for a look at the primaries.
func (fs *feeds) changed() {
	select {
	case fs.look <- struct{}{}:
	default:
	}
}

// slot is where a channel is in a cluster.
func (fs *feeds) slot(channel string) uint16 {
	c := fs.relay.client.B().Ssubscribe().Channel(channel).Build()
	return c.Slot() % clusterSlots
}

// feedOf is the feed of a slot, nil while nobody knows. Called with mu held.
func (fs *feeds) feedOf(slot uint16) *feed {
	addr := ""
	if fs.relay.client.Mode() == rueidis.ClientModeCluster {
		if fs.slots == nil || fs.slots[slot] == "" {
			return nil
		}
		addr = fs.slots[slot]
	}
	if f := fs.feeds[addr]; f != nil {
		return f.feed
	}
	ctx, stop := context.WithCancel(fs.relay.ctx)
	f := &feed{relay: fs.relay, addr: addr, inbox: newInbox(), rooms: make(map[*link]struct{}), wake: make(chan struct{}, 1), kick: make(chan uint64, 1)}
	fs.feeds[addr] = &running{f, stop}
	fs.relay.wg.Go(func() { f.run(ctx) }) // ends with ctx
	fs.relay.wg.Go(f.dispatch)            // ends when run closes the inbox
	return f
}

// begin connects for the first time.
func (fs *feeds) begin() {
	if fs.relay.client.Mode() == rueidis.ClientModeCluster {
		fs.reroute()
		return
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.feedOf(0)
}

// route follows the primaries of a cluster until the relay's ctx ends.
func (fs *feeds) route() {
	if fs.relay.client.Mode() != rueidis.ClientModeCluster {
		return
	}
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-fs.relay.ctx.Done():
			return
		case <-tick.C:
		case <-fs.look:
			fs.reroute()
			select { // not in a tight loop while a cluster is broken
			case <-fs.relay.ctx.Done():
				return
			case <-time.After(200 * time.Millisecond):
			}
			continue
		}
		fs.reroute()
	}
}

// reroute reads where the slots are, and moves rooms to other feeds.
func (fs *feeds) reroute() {
	slots, err := fs.readSlots()
	if before := fs.unread.Swap(err != nil); err != nil && !before {
		fs.relay.log.Warn("cannot read the cluster's slots", zap.Error(err))
	} else if err == nil && before {
		fs.relay.log.Info("the cluster's slots can be read again")
	}
	if err != nil {
		return
	}
	type move struct {
		link     *link
		from, to *feed
	}
	var moves []move
	fs.mu.Lock()
	fs.slots = slots
	used := make(map[string]bool)
	for _, addr := range slots {
		if addr != "" {
			used[addr] = true
		}
	}
	for slot, addr := range slots { // a feed for each primary: connected says that all are heard
		if used[addr] {
			fs.feedOf(uint16(slot))
			used[addr] = false
		}
	}
	for _, l := range fs.links {
		if to := fs.feedOf(l.slot); to != l.feed && to != nil {
			moves = append(moves, move{l, l.feed, to})
			l.feed = to
		}
	}
	for addr, f := range fs.feeds {
		if _, ok := used[addr]; !ok {
			f.stop()
			delete(fs.feeds, addr)
		}
	}
	fs.mu.Unlock()
	for _, m := range moves {
		if m.from != nil {
			m.from.remove(m.link)
		}
		m.to.add(m.link)
	}
}

// primaryOf is where a channel is, in a cluster.
func (fs *feeds) primaryOf(channel string) string {
	slot := fs.slot(channel)
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	if fs.slots == nil {
		return ""
	}
	return fs.slots[slot]
}

// readSlots asks the nodes for the address of each slot's primary.
func (fs *feeds) readSlots() (slots []string, err error) {
	ctx, cancel := context.WithTimeout(fs.relay.ctx, 2*time.Second)
	defer cancel()
	err = errMalformed
	for addr, node := range fs.relay.client.Nodes() {
		var ranges []rueidis.RedisMessage
		if ranges, err = node.Do(ctx, node.B().ClusterSlots().Build()).ToArray(); err != nil {
			continue
		}
		host, _, _ := net.SplitHostPort(addr)
		slots = make([]string, clusterSlots)
		for _, r := range ranges {
			fields, e := r.ToArray()
			if e != nil || len(fields) < 3 {
				return nil, errMalformed
			}
			from, e1 := fields[0].AsInt64()
			to, e2 := fields[1].AsInt64()
			primary, e3 := fields[2].ToArray()
			if e1 != nil || e2 != nil || e3 != nil || len(primary) < 2 || from < 0 || to >= clusterSlots {
				return nil, errMalformed
			}
			ip, _ := primary[0].ToString()
			if ip == "" || ip == "?" {
				ip = host
			}
			port, _ := primary[1].AsInt64()
			for slot := from; slot <= to; slot++ {
				slots[slot] = net.JoinHostPort(ip, strconv.FormatInt(port, 10))
			}
		}
		return slots, nil
	}
	return nil, err
}
