package redis

import (
	"errors"
	"fmt"

	"github.com/redis/rueidis"

	"github.com/hubbub-chat/hubbub/internal/contact"
)

// probe is a write to a primary and how it went.
type probe struct {
	addr string // empty where there is one primary
	key  string
	err  error
}

// named is the error with the primary that it is about.
func (p probe) named() error {
	if p.addr == "" {
		return p.err
	}
	return fmt.Errorf("%s: %w", p.addr, p.err)
}

// contacts are those of the primaries that were asked, which are all there are.
func (h *heartbeat) contacts(probes []probe) []*contact.Contact {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]*contact.Contact, len(probes))
	primaries := make(map[string]*contact.Contact, len(probes))
	for i, p := range probes {
		if list[i] = h.primaries[p.addr]; list[i] == nil {
			list[i] = contact.New(contact.Config{Name: p.addr})
		}
		primaries[p.addr] = list[i]
	}
	h.primaries = primaries
	return list
}

// probes names a key on every primary of a cluster; none where there is one
// primary, or while nobody knows them.
func (fs *feeds) probes() (list []probe) {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	if fs.slots == nil {
		return nil
	}
	found := make(map[string]bool)
	for i := 0; len(found) < len(fs.feeds) && i < clusterSlots; i++ {
		key := fs.relay.keys.probe(i)
		if addr := fs.slots[fs.slot(key)]; addr != "" && !found[addr] {
			found[addr] = true
			list = append(list, probe{addr: addr, key: key})
		}
	}
	return list
}

// sound is the channel that a feed of this node hears itself on: in a slot of
// its primary.
func (fs *feeds) sound(addr string) string {
	for _, p := range fs.probes() {
		if p.addr == addr {
			return fs.relay.keys.sound(p.key, fs.relay.boot)
		}
	}
	return fs.relay.keys.sound(fs.relay.keys.probe(0), fs.relay.boot)
}

// sounding is something published for a feed of this node alone. A feed whose
// connection leads to another server than the writes do hears nothing of the
// rooms, and no payload would ever show it: behind one address two servers may
// have taken turns, or half of the connections moved.
type sounding struct {
	feed    *feed
	channel string
	line    uint64 // the feed's connection, when it was published
}

// soundings are those of the feeds that are connected.
func (fs *feeds) soundings() (list []sounding) {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	for _, f := range fs.feeds {
		f.mu.Lock()
		if f.sound != "" {
			list = append(list, sounding{f.feed, f.sound, f.line})
		}
		f.mu.Unlock()
	}
	return list
}

var errElsewhere = errors.New("it led to another server than writes do")

// conclude takes how many connections to that server were listening.
func (s sounding) conclude(result rueidis.RedisResult) {
	n, err := result.AsInt64()
	if err != nil {
		s.feed.relay.heartbeat.note(err)
		return
	}
	if n == 0 {
		select {
		case s.feed.kick <- s.line:
		default: // it is being told
		}
	}
}
