package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"
)

// control is the cluster's orders: to disconnect a user, and the like. Pub/Sub
// may lose an order, so they stand in a stream, which every node reads from
// where it was when it started. Each order has a name of its own and is applied
// once, as far as a node remembers; applying it again would do no harm but to
// who has come back since.
//
// When the stream has lost what a node has read (FLUSHALL, a fail-over), the
// node reads what there is from its own beginning; names tell what is new. A
// node writes the position of what it has applied beside its record in the
// registry; whoever gave an order waits for the nodes to pass it.
//
// What stands here is for nodes that run. What holds for longer, that a user is
// kept out, is in the store as well.
type control struct {
	relay *Relay
	last  atomic.Int64 // when the stream was heard of, Unix milliseconds; 0 before start

	applied atomic.Uint64 // orders

	// owned by run
	begin position // where this node's orders begin
	at    position
	told  position        // what Redis knows of it
	done  map[string]bool // names of orders that were applied
	order []string        // the same, oldest first
}

const (
	keptOrders     = 4096 // in the stream, about
	rememberOrders = 2 * keptOrders
	controlBlock   = 2 * time.Second
)

// position is an entry's id in the stream.
type position struct{ ms, seq uint64 }

func (p position) String() string { return fmt.Sprintf("%d-%d", p.ms, p.seq) }

func (p position) before(o position) bool { return p.ms < o.ms || p.ms == o.ms && p.seq < o.seq }

func parsePosition(s string) (p position, err error) {
	ms, seq, ok := strings.Cut(s, "-")
	if !ok {
		return p, errMalformed
	}
	p.ms, err = strconv.ParseUint(ms, 10, 64)
	if err == nil {
		p.seq, err = strconv.ParseUint(seq, 10, 64)
	}
	return p, err
}

func newControl(r *Relay) *control {
	return &control{relay: r, done: make(map[string]bool)}
}

// find finds where to begin: when nobody had connected yet, by Redis' clock, and
// a second before, since that may be another server's.
func (c *control) find(ctx context.Context, started time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	cl := c.relay.client
	now, err := cl.Do(ctx, cl.B().Time().Build()).AsIntSlice()
	if err != nil {
		return err
	}
	if len(now) != 2 {
		return errMalformed
	}
	begin := time.Unix(now[0], now[1]*1000).Add(-time.Since(started) - time.Second)
	c.begin = position{ms: uint64(begin.UnixMilli())}
	c.at = c.begin
	return nil
}

// heard reports whether the stream was heard of lately.
func (c *control) heard(now time.Time) bool {
	last := c.last.Load()
	return last == 0 || now.Sub(time.UnixMilli(last)) < 2*(controlBlock+silence)
}

// run applies orders until ctx ends.
func (c *control) run(ctx context.Context, self Self) {
	started := time.Now()
	for fresh := true; ctx.Err() == nil; {
		var entries []rueidis.XRangeEntry
		var err error
		if c.begin == (position{}) {
			err = c.find(ctx, started)
		}
		if err == nil {
			entries, err = c.read(ctx)
		}
		if err == nil && (fresh || len(entries) == 0) {
			err = c.check(ctx)
		}
		if fresh = err != nil; fresh {
			c.mend(ctx, err)
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
			continue
		}
		c.last.Store(time.Now().UnixMilli())
		for _, e := range entries {
			c.apply(e, self)
		}
		c.tell(ctx)
	}
}

// mend puts what is not a stream out of the way of one, when that was the
// error. It reports whether it did.
func (c *control) mend(ctx context.Context, err error) bool {
	reply, ok := rueidis.IsRedisErr(err)
	if !ok || !strings.HasPrefix(reply.Error(), "WRONGTYPE") {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	r, key := c.relay, c.relay.keys.orders()
	moved, err := call{asideScript, []string{key}, []string{"stream"}}.run(ctx, r.client).AsInt64()
	if err != nil {
		r.rooms.warn("", "the stream of orders is of another type, and cannot be put aside", zap.Error(err))
	} else if moved == 1 {
		r.log.Warn("the stream of orders was of another type, and is put aside", zap.String("key", key+":unreadable"))
	}
	return err == nil
}

// read waits for orders: rueidis takes a connection of its own for it.
func (c *control) read(ctx context.Context) ([]rueidis.XRangeEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, controlBlock+silence)
	defer cancel()
	key := c.relay.keys.orders()
	cl := c.relay.client
	reply, err := cl.Do(ctx, cl.B().Xread().Count(256).Block(controlBlock.Milliseconds()).Streams().Key(key).Id(c.at.String()).Build()).AsXRead()
	if rueidis.IsRedisNil(err) {
		return nil, nil
	}
	return reply[key], err
}

// check looks whether the stream is still the one that was read: what comes
// next in another would be waited for in vain.
func (c *control) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	cl := c.relay.client
	newest, err := cl.Do(ctx, cl.B().Xrevrange().Key(c.relay.keys.orders()).End("+").Start("-").Count(1).Build()).AsXRange()
	if err != nil {
		return err
	}
	var end position
	if len(newest) > 0 {
		if end, err = parsePosition(newest[0].ID); err != nil {
			return err
		}
	}
	if end.before(c.at) {
		c.at = c.begin
	}
	return nil
}

// apply carries out an order, unless it was before.
func (c *control) apply(e rueidis.XRangeEntry, self Self) {
	at, err := parsePosition(e.ID)
	if err != nil {
		return
	}
	if c.at.before(at) {
		c.at = at
	}
	name := e.FieldValues["n"]
	if c.done[name] {
		return
	}
	c.done[name] = true
	if c.order = append(c.order, name); len(c.order) > rememberOrders {
		delete(c.done, c.order[0])
		c.order = slices.Delete(c.order, 0, 1)
	}
	c.applied.Add(1)
	self.Apply([]byte(e.FieldValues["o"]))
}

// tell writes what was applied.
func (c *control) tell(ctx context.Context) {
	if c.told == c.at {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	r := c.relay
	if r.client.Do(ctx, r.client.B().Hset().Key(r.keys.nodes()).FieldValue().FieldValue(r.boot+":a", c.at.String()).Build()).Error() == nil {
		c.told = c.at
	}
}

// NotApplied says that an order was given, and which nodes have yet to carry it
// out: they do when they hear of Redis, or else close their sessions.
type NotApplied struct{ Nodes []string }

func (e NotApplied) Error() string {
	return "not applied yet by " + strings.Join(e.Nodes, ", ")
}

// Refused says that Redis answers and takes no order at the moment.
type Refused struct{ Err error }

func (e Refused) Error() string { return "Redis refuses writes: " + e.Err.Error() }

func (e Refused) Unwrap() error { return e.Err }

// Order gives an order to all nodes and waits until everyone that may have
// clients has carried it out. When ctx ends before, the error is a NotApplied.
func (r *Relay) Order(ctx context.Context, order []byte) error {
	at, err := r.give(ctx, order)
	if err != nil {
		return err
	}
	var left []string
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		if s, err := r.nodes(ctx, "", nil); err == nil {
			r.takeIn(s)
			if left = r.behind(s, at); len(left) == 0 {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			if left == nil {
				return ErrUnavailable // it stands in the stream, and nothing more is known
			}
			return NotApplied{left}
		case <-time.After(wait):
		}
	}
}

// give writes an order into the stream. Trying again is no risk: it has a
// name.
func (r *Relay) give(ctx context.Context, order []byte) (position, error) {
	name := random(16)
	for {
		once, cancel := context.WithTimeout(ctx, silence)
		id, err := r.client.Do(once, r.client.B().Xadd().Key(r.keys.orders()).Maxlen().Almost().Threshold(decimal(keptOrders)).
			Id("*").FieldValue().FieldValue("n", name).FieldValue("o", string(order)).Build()).ToString()
		cancel()
		if err == nil {
			return parsePosition(id)
		}
		if _, again := notExecuted(err); !again && !r.control.mend(ctx, err) {
			if r.refusedBy(err) {
				return position{}, Refused{err}
			}
			r.log.Error("Redis refuses an order", zap.Error(err))
			return position{}, err
		}
		select {
		case <-ctx.Done():
			return position{}, errors.Join(ErrUnavailable, ctx.Err())
		case <-time.After(retryAfter):
		}
	}
}

// behind lists the nodes that may have clients and have not come to a position,
// by name.
func (r *Relay) behind(s standings, at position) (names []string) {
	nodes := r.alive(r.linger())
	if _, known := nodes[r.boot]; !known && r.served.self.Load() != nil {
		nodes[r.boot] = "this node" // which has not told of itself yet
	}
	for boot, name := range nodes {
		if s.applied[boot].before(at) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
