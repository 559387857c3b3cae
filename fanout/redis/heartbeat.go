package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/hubbub-chat/hubbub/internal/contact"
	"github.com/hubbub-chat/hubbub/schema"
)

// heartbeat is this node's contact with Redis, decided in one place: a small
// write to every primary at a pace. A call that is refused or not answered does
// not decide by itself, it has the next beat come at once; so the log has one
// line for each change, however many calls fail, and one primary that answers
// does not hide another that does not.
//
// From it follow readiness, metrics and admission. Isolation does not: it is
// about what this node hears, see Relay.watch.
type heartbeat struct {
	all   *contact.Contact // all primaries as one
	wake  chan struct{}    // of size 1: something has gone wrong
	right atomic.Bool      // a right was missing: it is looked for

	mu        sync.Mutex
	primaries map[string]*contact.Contact // by address, for admission; they log nothing

	skew    atomic.Pointer[error] // the clocks disagree; nil: they do not
	trusted atomic.Int64          // Unix milliseconds from which on silent nodes count as dead

	// owned by beatAll
	redialed time.Time
	nobody   bool // Redis serves no node at the moment
}

const (
	// troubledBeat is the time between two beats while something is wrong: so
	// long it takes to notice that it is over.
	troubledBeat = 500 * time.Millisecond
	soonestBeat  = 100 * time.Millisecond
	redialEvery  = time.Second
)

func newHeartbeat(cfg *Config) *heartbeat {
	h := &heartbeat{
		all:  contact.New(contact.Config{Name: "redis", Log: cfg.Logger}),
		wake: make(chan struct{}, 1), primaries: make(map[string]*contact.Contact),
	}
	h.trusted.Store(time.Now().Add(2 * cfg.Lease / 5).UnixMilli())
	return h
}

// watchedClient has the heartbeat look when a call goes wrong.
type watchedClient struct {
	rueidis.Client
	heartbeat *heartbeat
}

func (c watchedClient) Do(ctx context.Context, cmd rueidis.Completed) rueidis.RedisResult {
	r := c.Client.Do(ctx, cmd)
	c.heartbeat.note(r.Error())
	return r
}

func (c watchedClient) DoMulti(ctx context.Context, multi ...rueidis.Completed) []rueidis.RedisResult {
	results := c.Client.DoMulti(ctx, multi...)
	for _, r := range results {
		c.heartbeat.note(r.Error())
	}
	return results
}

// note takes the error of a call.
func (h *heartbeat) note(err error) {
	if err == nil || rueidis.IsRedisNil(err) {
		return
	}
	a, answered := answerOf(err)
	if answered && !a.refused && !a.elsewhere || errors.Is(err, context.Canceled) || errors.Is(err, rueidis.ErrClosing) {
		return
	}
	if a.right {
		h.right.Store(true)
	}
	h.look()
}

// look has the next beat come at once.
func (h *heartbeat) look() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Contact is what is known of Redis.
func (r *Relay) Contact() *contact.Contact { return r.heartbeat.all }

// Connected reports whether Redis answers and every primary is listened to.
func (r *Relay) Connected() bool {
	return r.feeds.connected() && r.heartbeat.all.State() != contact.Silent
}

// Ready returns nil when messages can be published and are heard, and else why
// not.
func (r *Relay) Ready() error {
	if err := r.heartbeat.all.Status().Problem("redis"); err != nil {
		return err
	}
	if !r.feeds.connected() {
		return fmt.Errorf("redis: %w", errNotListening)
	}
	return nil
}

var errNotListening = errors.New("not subscribed to every primary")

// beatAll beats until ctx ends.
func (r *Relay) beatAll() {
	h := r.heartbeat
	r.isolation.whole = time.Now()
	for {
		began := time.Now()
		r.watch(r.beat())
		next := r.cfg.Lease / 5
		if h.all.Troubled() {
			next = min(next, troubledBeat)
		}
		timer := time.NewTimer(next)
		select {
		case <-r.ctx.Done():
		case <-timer.C:
		case <-h.wake:
			select {
			case <-r.ctx.Done():
			case <-time.After(soonestBeat - time.Since(began)):
			}
		}
		timer.Stop()
		if r.ctx.Err() != nil {
			// The successor need not wait to produce what is left.
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			r.client.Do(ctx, r.client.B().Del().Key(r.keys.lease(r.boot)).Build())
			return
		}
	}
}

// beat renews the lease that says that this boot is alive, asks every primary,
// and exchanges records with the other nodes. It reports whether Redis lets
// this node read, which is all that it takes to hear orders.
func (r *Relay) beat() (heard bool) {
	r.ask()
	if r.heartbeat.all.State() != contact.Answers {
		r.distrust()
	}
	return r.tell()
}

// ask writes to every primary. The lease is such a write; in a cluster each
// primary gets a key of its own. What is published with it shows that this
// node hears the server that it writes to.
func (r *Relay) ask() {
	c := r.cfg.Client.rueidis
	ctx, cancel := context.WithTimeout(r.ctx, silence)
	defer cancel()
	lease := r.keys.lease(r.boot)
	probes := append([]probe{{key: lease}}, r.feeds.probes()...)
	soundings := r.feeds.soundings()
	var commands rueidis.Commands
	for _, p := range probes {
		commands = append(commands, c.B().Set().Key(p.key).Value("1").Px(r.cfg.Lease).Build())
	}
	for _, s := range soundings {
		commands = append(commands, c.B().Spublish().Channel(s.channel).Message("").Build())
	}
	results := c.DoMulti(ctx, commands...)
	if r.ctx.Err() != nil {
		return
	}
	for i := range probes {
		probes[i].err = results[i].Error()
	}
	for i, s := range soundings {
		s.conclude(results[len(probes)+i])
	}
	if a, _ := answerOf(probes[0].err); a.code == "OOM" {
		// A full Redis refuses what takes memory, and lets a lease be prolonged.
		c.Do(ctx, c.B().Pexpire().Key(lease).Milliseconds(r.cfg.Lease.Milliseconds()).Build())
	}
	if len(probes) > 1 {
		probes = probes[1:] // the lease is with one of them
	}
	r.conclude(ctx, probes)
}

// conclude takes what each primary has said to a write.
func (r *Relay) conclude(ctx context.Context, probes []probe) {
	h := r.heartbeat
	var refused, failed error
	elsewhere := false
	h.nobody = false
	for i, c := range h.contacts(probes) {
		p := probes[i]
		a, answered := answerOf(p.err)
		switch {
		case p.err == nil:
			c.Wrote()
		case !answered:
			c.Failed(p.err)
			failed = p.named()
		default:
			c.Refused(p.err)
			refused = p.named()
		}
		elsewhere, h.nobody = elsewhere || a.elsewhere, h.nobody || a.nobody
	}
	if failed == nil && refused == nil && h.right.Load() {
		if refused = r.cfg.Client.allRights(ctx); refused == nil {
			h.right.Store(false)
		}
	}
	if skew := h.skew.Load(); failed == nil && refused == nil && skew != nil {
		refused = *skew
	}
	switch {
	case failed != nil:
		h.all.Failed(failed)
	case refused != nil:
		h.all.Refused(refused)
	default:
		h.all.Wrote()
	}
	if elsewhere {
		r.redial()
	}
}

// maxSkew is how far the clocks of a node and of Redis may differ: mint.lua
// refuses above it, since offsets are times.
const maxSkew = time.Second

// clocks compares the clocks by a call that began and ended here, and read
// Redis' clock between. Without it a node whose clock is wrong would be ready,
// and refuse every message.
func (h *heartbeat) clocks(began, ended, redis time.Time) {
	skew := max(began.Sub(redis), redis.Sub(ended))
	if skew <= maxSkew {
		h.skew.Store(nil)
		return
	}
	err := fmt.Errorf("the clocks of Redis and this node differ by %v", skew.Round(time.Millisecond))
	if h.skew.Swap(&err) == nil {
		h.look()
	}
}

// redial has everything connect anew when another server is the primary now.
// The nodes of a Cluster say themselves where that is.
func (r *Relay) redial() {
	h := r.heartbeat
	if r.client.Mode() == rueidis.ClientModeCluster || time.Since(h.redialed) < redialEvery {
		return
	}
	h.redialed = time.Now()
	ctx, cancel := context.WithTimeout(r.ctx, silence)
	defer cancel()
	err := r.cfg.Client.redial(func(fresh rueidis.Client) error {
		return fresh.Do(ctx, fresh.B().Set().Key(r.keys.lease(r.boot)).Value("1").Px(r.cfg.Lease).Build()).Error()
	})
	if err == nil {
		r.log.Info("another server is Redis' primary now: all connections are made anew")
		h.look()
	}
}

// admit refuses a message while it is known that it would be in vain. What may
// pass within a moment is waited for, as long as for one that Redis does not
// take yet.
func (r *Relay) admit(room string) error {
	h := r.heartbeat
	s := h.all.Status()
	if s.State == contact.Answers {
		return nil
	}
	if r.client.Mode() == rueidis.ClientModeCluster {
		addr := r.feeds.primaryOf(r.keys.state(room))
		h.mu.Lock()
		c := h.primaries[addr]
		h.mu.Unlock()
		if c == nil {
			return nil // nobody has asked it yet
		}
		s = c.Status()
	}
	if a, _ := answerOf(s.Err); s.State == contact.Refuses && a.again && time.Since(s.Since) < r.cfg.Patience {
		return nil
	}
	if s.State == contact.Answers {
		return nil
	}
	return errRefused
}

// errRefused is what a sender is told of a message that was certainly not
// taken.
var errRefused = schema.ErrTooManyRequests.Because("the server cannot take messages right now")

// distrust has silence of other nodes mean nothing for a lease from now on:
// while Redis takes no writes, or does not answer, they are silent because of
// that, and when it is over this node may be the first to write.
func (r *Relay) distrust() {
	r.heartbeat.trusted.Store(time.Now().Add(r.cfg.Lease).UnixMilli())
}

// trusts reports whether a node that has been silent for a lease is dead.
func (r *Relay) trusts() bool { return time.Now().UnixMilli() >= r.heartbeat.trusted.Load() }
