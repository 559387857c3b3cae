package redis

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/schema"
)

// Log makes messages durable that are minted, and have been seen.
type Log interface {
	// Reserve sets room aside for a message, or refuses it. It never blocks.
	Reserve(m *schema.Message) error
	// Release gives back what was reserved for a message that was not minted.
	Release(m *schema.Message)
	// Produce stores a minted message, whether it was reserved or not. It
	// never blocks and never gives up; done is called once.
	Produce(m *schema.Message, done func(error))
	// Heal asks for a renewed epoch when all that was produced is stored.
	Heal(room, epoch string)
}

// Store is the history behind the stream.
type Store interface {
	Last(ctx context.Context, room string) (uint64, error)
	After(ctx context.Context, room string, after, upTo uint64, limit, maxBytes int) ([]*schema.Message, error)
	Before(ctx context.Context, room string, before uint64, limit, maxBytes int) ([]*schema.Message, error)
	Count(ctx context.Context, room string, after, upTo uint64, max int) (int, error)
}

// Config is what a relay works with. Zero values mean the defaults named.
type Config struct {
	Client *Client
	Log    Log
	Store  Store
	Logger *zap.Logger

	RoomRate int           // messages a second that this node takes for one room; 0: no limit
	Keep     int           // messages of a room that the stream keeps at least; default 100
	KeepTime time.Duration // and for how long; default 60 s
	Idle     time.Duration // after which a room is forgotten in Redis; default 24 h
	Lease    time.Duration // how long a node that is not heard of counts as alive; default 15 s
	Patience time.Duration // for a message that Redis does not take yet; default 1.5 s
	Sweep    time.Duration // between two looks at rooms in use; default 10 s

	Isolation time.Duration // after which a node without Redis does without clients; default 30 s
}

// ErrUnavailable says that Redis does not answer, or that a room is too busy.
// It is temporary.
var ErrUnavailable = errors.New("no answer from Redis")

// Relay orders messages by Redis and delivers what any node has published.
// It is the hub's source of rooms. All methods may be called concurrently.
type Relay struct {
	// immutable
	cfg    Config
	client rueidis.Client
	keys   keyspace
	log    *zap.Logger
	boot   string // names this run of this node
	hub    *fanout.Hub
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	counter   atomic.Uint64 // of messages sent
	outbox    *outbox
	feeds     *feeds
	syncs     *queue[*link]
	slowSyncs *queue[*link] // those that ask the store
	rooms     *roomLog
	asides    chan struct{} // taken by what waits for an unclear outcome, a cold room or a dead node
	rescues   rescues
	events    *queue[publication]
	maybes    maybes
	heals     heals
	stats     counters
	calls     atomic.Uint64 // that minted

	heartbeat *heartbeat
	registry  registry
	isolation isolation
	served    served
	control   *control
	presence  *presence
}

// counters are a relay's counters, atomic.
type counters struct {
	minted, duplicates, refused, maybe    atomic.Uint64
	gaps, syncs, resets, rescued, dropped atomic.Uint64
	unfilled, unreadable                  atomic.Uint64
}

// New makes a relay. Give it to the hub as its source, and the hub to Start.
func New(cfg Config) *Relay {
	if cfg.Keep <= 0 {
		cfg.Keep = 100
	}
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{{&cfg.KeepTime, time.Minute}, {&cfg.Idle, 24 * time.Hour}, {&cfg.Lease, 15 * time.Second}, {&cfg.Sweep, 10 * time.Second}, {&cfg.Patience, 1500 * time.Millisecond}, {&cfg.Isolation, 30 * time.Second}} {
		if *d.value <= 0 {
			*d.value = d.def
		}
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	r := &Relay{
		cfg: cfg, heartbeat: newHeartbeat(&cfg), keys: cfg.Client.keys, log: cfg.Logger, boot: random(bootLen),
		syncs: newQueue[*link](0), slowSyncs: newQueue[*link](0), rooms: newRoomLog(cfg.Logger), events: newQueue[publication](maxEvents),
	}
	r.client = watchedClient{cfg.Client.rueidis, r.heartbeat}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.outbox = newOutbox(cfg.RoomRate)
	r.asides = make(chan struct{}, 64)
	r.feeds = newFeeds(r)
	r.heals.at = make(map[string]time.Time)
	r.rescues.under = make(map[string]struct{})
	r.maybes.messages = make(map[sent]maybe)
	r.registry.peers = make(map[string]seen)
	r.control = newControl(r)
	r.presence = newPresence(r)
	return r
}

const minters = 4

// Start begins to relay for a hub.
func (r *Relay) Start(h *fanout.Hub) {
	r.hub = h
	for range minters {
		r.wg.Go(r.mintAll) // ends when the outbox is closed and empty
	}
	for range syncers {
		r.wg.Go(func() { r.syncAll(r.syncs, false) }) // ends when the queue is closed
	}
	for range slowSyncers {
		r.wg.Go(func() { r.syncAll(r.slowSyncs, true) }) // ends when the queue is closed
	}
	for range presenceWriters {
		r.wg.Go(r.presence.attendAll) // ends when presence is closed
	}
	r.wg.Go(r.presence.lookAll) // ends with ctx
	r.wg.Go(r.sendEvents)       // ends when the queue is closed
	r.wg.Go(r.confirmAll)       // ends with ctx
	r.wg.Go(r.sweepAll)         // ends with ctx
	r.wg.Go(r.beatAll)          // ends with ctx
	r.wg.Go(r.feeds.route)      // ends with ctx
	r.feeds.begin()
}

// Drain takes no more orders and messages, and waits until what was accepted is
// minted and who has gone is written, or ctx ends. Close the Log between it and
// Close.
func (r *Relay) Drain(ctx context.Context) {
	r.served.end()
	r.resign()
	r.presence.close(ctx)
	r.outbox.close(ctx)
	r.events.close()
}

// Close tells Redis what the Log has confirmed and ends every goroutine.
// Whatever it has not, another node produces again.
func (r *Relay) Close() {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	r.Drain(ended) // at once, if nobody has
	r.syncs.close()
	r.slowSyncs.close()
	r.tellConfirmed()
	r.cancel()
	r.wg.Wait()
}

// Boot names this run of this node.
func (r *Relay) Boot() string { return r.boot }

// Source is the relay as its hub's source of rooms.
func (r *Relay) Source() fanout.Source { return source{r} }

type source struct{ relay *Relay }

// Open implements fanout.Source.
func (s source) Open(room *fanout.Room, done func(error)) { s.relay.feeds.open(room, done) }

// Close implements fanout.Source.
func (s source) Close(room *fanout.Room) { s.relay.feeds.close(room) }

// newEpoch names a history.
func newEpoch() string { return random(8) + "." + random(8) }

// random returns so many hexadecimal digits.
func random(digits int) string {
	b := make([]byte, digits/2)
	_, _ = rand.Read(b) // never fails: it ends the program instead
	return hex.EncodeToString(b)
}

// Stats are a relay's gauges and counters.
type Stats struct {
	Rooms, Feeds     int    // subscribed, connected
	Queued, Open     int    // messages to be minted, and minted but not confirmed
	Minted           uint64 // messages that got their offset from this node
	Duplicates       uint64 // messages that were there before, by their key
	Refused, Maybe   uint64 // not minted; outcome unknown
	Gaps, Syncs      uint64 // gaps seen, looks at where a room stands
	Resets           uint64 // rooms whose members were told to load anew
	Unfilled         uint64 // gaps that neither the stream nor the store could fill
	Unreadable       uint64 // reads of a stream that met entries which cannot be read
	Peers            int    // living nodes, this one among them
	Isolated         bool   // without Redis for too long
	Orders           uint64 // carried out
	Present, Pending int    // rooms where somebody of this node is, and who comes and goes that has yet to be written
	Rescued, Dropped uint64 // messages of dead nodes produced again; payloads that came faster than they were taken
}

// Stats returns what the relay has counted.
func (r *Relay) Stats() Stats {
	s := Stats{
		Minted: r.stats.minted.Load(), Duplicates: r.stats.duplicates.Load(), Refused: r.stats.refused.Load(), Maybe: r.stats.maybe.Load(),
		Gaps: r.stats.gaps.Load(), Syncs: r.stats.syncs.Load(), Resets: r.stats.resets.Load(),
		Unfilled: r.stats.unfilled.Load(), Unreadable: r.stats.unreadable.Load(),
		Rescued: r.stats.rescued.Load(), Dropped: r.stats.dropped.Load(),
	}
	s.Rooms, s.Feeds = r.feeds.count()
	s.Queued, s.Open = r.outbox.count()
	s.Peers, s.Isolated, s.Orders = len(r.alive(r.cfg.Lease)), r.isolation.is.Load(), r.control.applied.Load()
	s.Present, s.Pending = r.presence.count()
	return s
}
