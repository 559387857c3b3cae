package redis

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"
)

// feed is a connection to one primary, with a subscription for each room in
// memory whose slot is there. What comes is handed from the connection's
// goroutine to a dispatcher through a bounded inbox; beyond the bound it is
// dropped, and the room looks into the stream instead.
type feed struct {
	// immutable
	relay *Relay
	addr  string // of the primary; empty where there is only one
	inbox *inbox

	// guarded by mu
	mu    sync.Mutex
	rooms map[*link]struct{} // that are to be subscribed here
	ops   []op               // what is to be said to Redis, in order
	up    bool               // connected and subscribed to all that was asked for before
	tried bool               // to connect, at least once
	lost  bool               // there is a line that says so
	line  uint64             // counts connections
	sound string             // channel that this connection hears of its own node, see soundings; empty: not yet

	wake chan struct{} // of size 1: there are ops
	kick chan uint64   // of size 1: the connection with that number is no good
}

// op asks for a room's messages, or for no more of them.
type op struct {
	link  *link
	leave bool
}

const (
	subscribeCalls   = 256 // in one pipeline
	resubscribeAfter = time.Second
)

// add subscribes a room, in time. It reports whether the feed is connected.
func (f *feed) add(l *link) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rooms[l] = struct{}{}
	f.ops = append(f.ops, op{link: l})
	f.poke()
	return f.up
}

// remove unsubscribes it.
func (f *feed) remove(l *link) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.rooms[l]; !ok {
		return
	}
	delete(f.rooms, l)
	f.ops = append(f.ops, op{l, true})
	f.poke()
}

func (f *feed) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *feed) connected() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.up
}

// run keeps the feed connected until ctx ends.
func (f *feed) run(ctx context.Context) {
	defer f.inbox.close()
	for wait := time.Duration(0); ctx.Err() == nil; {
		began := time.Now()
		err := f.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		f.down(err)
		if time.Since(began) > 10*time.Second {
			wait = 0
		}
		wait = min(2*wait+50*time.Millisecond, time.Second)
		f.relay.feeds.changed() // perhaps the primary is another now
		select {
		case <-ctx.Done():
		case <-time.After(wait/2 + rand.N(wait/2+1)):
		}
	}
}

// connect serves one connection until it breaks.
func (f *feed) connect(ctx context.Context) error {
	client, err := f.client()
	if err != nil {
		return err
	}
	conn, release := client.Dedicate()
	defer release()
	defer conn.Close()
	broken := conn.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: f.message, OnSubscription: f.subscription})
	if err := conn.Do(ctx, conn.B().Ping().Build()).Error(); err != nil {
		return err
	}
	sound := f.relay.feeds.sound(f.addr)
	if err := conn.Do(ctx, conn.B().Ssubscribe().Channel(sound).Build()).Error(); err != nil {
		return err
	}
	f.mu.Lock()
	f.line++
	line := f.line
	f.sound = sound
	f.ops = f.ops[:0]
	for l := range f.rooms {
		f.ops = append(f.ops, op{link: l})
	}
	f.mu.Unlock()
	for {
		if err := f.say(ctx, conn); err != nil {
			return err
		}
		f.mu.Lock()
		was := f.up
		f.up, f.tried = f.up || len(f.ops) == 0, true
		back := f.up && !was
		lost := f.lost
		f.lost = f.lost && !back
		f.mu.Unlock()
		if back {
			f.relay.presence.look()
		}
		if back && lost {
			f.relay.log.Info("the feed from Redis is back", zap.String("primary", f.addr))
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-broken:
			if err == nil {
				err = errors.New("the connection was closed")
			}
			return err
		case which := <-f.kick:
			if which == line {
				return errElsewhere
			}
		case <-f.wake:
		}
	}
}

// client is the primary's.
func (f *feed) client() (rueidis.Client, error) {
	if f.addr == "" {
		return f.relay.client, nil
	}
	if c := f.relay.client.Nodes()[f.addr]; c != nil {
		return c, nil
	}
	return nil, errors.New("Redis node " + f.addr + " is not part of the cluster any more")
}

// say subscribes and unsubscribes what has been asked for.
func (f *feed) say(ctx context.Context, conn rueidis.DedicatedClient) error {
	for {
		f.mu.Lock()
		n := min(len(f.ops), subscribeCalls)
		ops := append([]op(nil), f.ops[:n]...)
		f.ops = f.ops[n:]
		f.mu.Unlock()
		if n == 0 {
			return nil
		}
		var commands rueidis.Commands
		for _, o := range ops {
			if o.leave {
				commands = append(commands, conn.B().Sunsubscribe().Channel(o.link.channel).Build())
			} else {
				commands = append(commands, conn.B().Ssubscribe().Channel(o.link.channel).Build())
			}
		}
		for i, result := range conn.DoMulti(ctx, commands...) {
			err := result.Error()
			reply, refused := rueidis.IsRedisErr(err)
			switch {
			case ops[i].leave && (err == nil || refused):
			case err == nil:
				ops[i].link.sync()
			case !refused || f.relay.refusedBy(err):
				return err // all is asked for again, at a pace
			default:
				if _, moved := reply.IsMoved(); moved {
					f.relay.feeds.changed()
				} else {
					f.relay.rooms.warn(ops[i].link.room.Name(), "Redis refuses a subscription", zap.Error(err))
				}
				ops[i].link.failed(err)
				f.later(ops[i].link)
			}
		}
	}
}

// later asks once more for a room that was refused, unless it has been given up
// or has moved to another feed: it would hear nothing, for good.
func (f *feed) later(l *link) {
	time.AfterFunc(resubscribeAfter, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if _, ok := f.rooms[l]; ok {
			f.ops = append(f.ops, op{link: l})
			f.poke()
		}
	})
}

// down notes that the connection is lost.
func (f *feed) down(err error) {
	f.mu.Lock()
	said := f.lost
	f.up, f.tried, f.lost, f.sound = false, true, true, ""
	var rooms []*link
	for l := range f.rooms {
		rooms = append(rooms, l)
	}
	f.mu.Unlock()
	f.relay.heartbeat.note(err)
	if !said {
		f.relay.log.Warn("lost the feed from Redis", zap.String("primary", f.addr), zap.Error(err))
	}
	for _, l := range rooms {
		l.failed(ErrUnavailable) // those that wait for their first answer
	}
}

// message takes a payload, on the connection's goroutine.
func (f *feed) message(m rueidis.PubSubMessage) {
	if !f.inbox.put(m) {
		f.relay.stats.dropped.Add(1)
		if l := f.relay.feeds.byChannel(m.Channel); l != nil {
			l.sync()
		}
	}
}

// subscription hears of what nobody asked for: the slot moves elsewhere.
func (f *feed) subscription(s rueidis.PubSubSubscription) {
	if s.Kind == "sunsubscribe" && f.relay.feeds.byChannel(s.Channel) != nil {
		f.relay.feeds.changed()
	}
}

// dispatch brings payloads to their rooms, in order.
func (f *feed) dispatch() {
	for {
		list := f.inbox.take()
		if list == nil {
			return
		}
		for _, m := range list {
			if l := f.relay.feeds.byChannel(m.Channel); l != nil {
				l.receive(m.Message)
			}
		}
	}
}

// inbox is what a dispatcher has before it, bounded by its bytes.
type inbox struct {
	mu     sync.Mutex
	more   *sync.Cond
	list   []rueidis.PubSubMessage
	bytes  int
	closed bool
}

const inboxBytes = 64 << 20

func newInbox() *inbox {
	i := &inbox{}
	i.more = sync.NewCond(&i.mu)
	return i
}

func (i *inbox) put(m rueidis.PubSubMessage) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed || i.bytes > inboxBytes {
		return false
	}
	i.list = append(i.list, m)
	i.bytes += len(m.Channel) + len(m.Message) + 64
	i.more.Signal()
	return true
}

func (i *inbox) take() []rueidis.PubSubMessage {
	i.mu.Lock()
	defer i.mu.Unlock()
	for len(i.list) == 0 && !i.closed {
		i.more.Wait()
	}
	list := i.list
	i.list, i.bytes = nil, 0
	return list
}

func (i *inbox) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed, i.list = true, nil
	i.more.Broadcast()
}
