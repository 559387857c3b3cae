package sessions

import (
	"context"
	"sync"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/schema"
)

// pages reads missed messages from the store, each page once for all who wait
// for it: after a cut, the members of a room come back together and ask for
// the same. Any goroutine may call it.
type pages struct {
	cfg *Config

	mu      sync.Mutex
	waiting map[missed][]func(page) // guarded by mu
}

// missed is what somebody has missed: (from, upTo] of a room.
type missed struct {
	room       string
	from, upTo uint64
	atMost     int // messages that can be recovered, to be found out first; 0 when they can
}

const pageMessages = 4096 // of a page of missed messages; its bytes are bounded too

// page is the first part of it.
type page struct {
	list    []*schema.Message
	tooMany bool // more than can be recovered
	err     error
}

func newPages(cfg *Config) *pages {
	return &pages{cfg: cfg, waiting: make(map[missed][]func(page))}
}

// read calls done with the page, on another goroutine or at once.
func (p *pages) read(m missed, done func(page)) {
	p.mu.Lock()
	first := len(p.waiting[m]) == 0
	p.waiting[m] = append(p.waiting[m], done)
	p.mu.Unlock()
	if first && !p.cfg.Reads.Do(func(ctx context.Context) { p.finish(m, p.load(ctx, m)) }) {
		p.finish(m, page{err: fanout.ErrBusy})
	}
}

func (p *pages) finish(m missed, result page) {
	p.mu.Lock()
	waiting := p.waiting[m]
	delete(p.waiting, m)
	p.mu.Unlock()
	for _, done := range waiting {
		done(result)
	}
}

func (p *pages) load(ctx context.Context, m missed) (result page) {
	if m.atMost > 0 {
		n, err := p.cfg.Store.Count(ctx, m.room, m.from, m.upTo, m.atMost+1)
		if err != nil || n > m.atMost {
			return page{tooMany: n > m.atMost, err: err}
		}
	}
	result.list, result.err = p.cfg.Store.After(ctx, m.room, m.from, m.upTo, pageMessages, pageBytes)
	return result
}
