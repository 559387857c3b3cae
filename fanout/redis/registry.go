package redis

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Self is this node, as the others are to know it.
type Self interface {
	// Record is what the node tells of itself: a name for people, and one JSON
	// value. It is asked for at a pace, and may take its time.
	Record() (name string, record json.RawMessage)
	// Apply carries out an order that was given on any node. It may come
	// twice.
	Apply(order []byte)
	// Contact says that Redis has not been heard of for Config.Isolation
	// (false), or is back (true). It must not block.
	Contact(bool)
}

// Peer is a living node of the cluster, this one among them.
type Peer struct {
	Boot   string
	Name   string
	Record json.RawMessage
}

// served is the node that others know and order about.
type served struct {
	self atomic.Pointer[Self] // nil before Serve
	stop atomic.Pointer[context.CancelFunc]
	wg   sync.WaitGroup
}

// Serve makes this node known to the others and carries out their orders, until
// Drain. It must be able to.
func (r *Relay) Serve(self Self) {
	ctx, stop := context.WithCancel(r.ctx)
	r.served.self.Store(&self)
	r.served.stop.Store(&stop)
	if r.isolation.is.Load() {
		self.Contact(false)
	}
	r.control.last.Store(time.Now().UnixMilli())
	r.served.wg.Go(func() { r.control.run(ctx, self) }) // ends with ctx
	r.served.wg.Go(func() { r.describeAll(ctx, self) }) // ends with ctx
}

// end waits for whatever the node is being asked.
func (s *served) end() {
	if stop := s.stop.Load(); stop != nil {
		(*stop)()
	}
	s.wg.Wait()
	s.self.Store(nil)
}

// registry is who the cluster's nodes are. One hash in Redis has a record of
// each and when it was written; every node writes its own with its heartbeat,
// and gets all of them in answer. Whoever has not been heard of for a lease
// counts as dead: its clients are not present. But it may live, out of reach,
// and serve them until it knows that it is isolated: for so much longer orders
// are waited for on it. What a node knows of the others outlives the hash: after
// a FLUSHALL an order is still waited for on nodes that have yet to write
// their record again.
type registry struct {
	mu    sync.Mutex
	self  []byte          // this node's record, encoded; nil before Serve
	peers map[string]seen // by boot

	// guarded by telling, which is held while this node's record is written
	telling sync.Mutex
	told    bool // Redis has had it
	unkept  bool // there is a line that it refuses to have it
	ended   bool // it is not told any more
}

// seen is a record and when it was written, by this node's clock.
type seen struct {
	boot   string
	record nodeRecord
	at     time.Time
	dead   bool // it has been noticed that the lease is over
}

// nodeRecord is a record as Redis has it.
type nodeRecord struct {
	Name   string          `json:"name"`
	Record json.RawMessage `json:"record,omitempty"`
}

// standings is what nodes.lua says.
type standings struct {
	known   bool                  // this node's record was there
	records map[string]nodeRecord // by boot
	ages    map[string]time.Duration
	ended   []string
	applied map[string]position // the last order that a boot has applied
}

// nodes reads what all nodes have told; write tells of this one as well.
func (r *Relay) nodes(ctx context.Context, boot string, record []byte) (s standings, err error) {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	forget := r.linger()
	if !r.trusts() {
		forget = 24 * time.Hour // nobody could write
	}
	began := time.Now()
	reply, err := call{nodesScript, []string{r.keys.nodes()}, []string{
		decimal(forget.Milliseconds()), boot, string(record),
	}}.run(ctx, r.client).ToArray()
	if err != nil {
		return s, err
	}
	if len(reply) != 3 {
		return s, errMalformed
	}
	now, err1 := reply[0].AsInt64()
	known, err2 := reply[1].AsInt64()
	list, err3 := reply[2].AsStrSlice()
	if err := cmp.Or(err1, err2, err3); err != nil || len(list)%3 != 0 {
		return s, errMalformed
	}
	r.heartbeat.clocks(began, time.Now(), time.UnixMilli(now))
	s = standings{known == 1, make(map[string]nodeRecord), make(map[string]time.Duration), nil, make(map[string]position)}
	for i := 0; i < len(list); i += 3 {
		s.add(now, list[i], list[i+1], list[i+2])
	}
	return s, nil
}

// linger is how long a node that is not heard of may still have clients.
func (r *Relay) linger() time.Duration { return r.cfg.Isolation + 15*time.Second }

// add takes one field of the hash.
func (s *standings) add(now int64, field, at, value string) {
	if boot, ok := strings.CutSuffix(field, ":a"); ok {
		s.applied[boot], _ = parsePosition(value) // what cannot be read counts as nothing
		return
	}
	if value == "" {
		s.ended = append(s.ended, field)
		return
	}
	var record nodeRecord
	ms, err := strconv.ParseInt(at, 10, 64)
	if err != nil || json.Unmarshal([]byte(value), &record) != nil {
		record.Name = field // of another version, and alive
	}
	s.records[field], s.ages[field] = record, time.Duration(max(0, now-ms))*time.Millisecond
}

// take brings in what Redis says. It returns who has come, who has ended, and,
// where a long silence means that, who has died.
func (g *registry) take(s standings, lease, linger time.Duration, trusted bool) (come, ended, died []seen) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	for boot, record := range s.records {
		at := now.Add(-s.ages[boot])
		before, known := g.peers[boot]
		p := seen{boot, record, at, before.dead && now.Sub(at) > lease}
		if g.peers[boot] = p; now.Sub(at) <= lease && (!known || before.dead) {
			come = append(come, p)
		}
	}
	for _, boot := range s.ended {
		if p, ok := g.peers[boot]; ok {
			ended = append(ended, p)
			delete(g.peers, boot)
		}
	}
	if !trusted {
		return come, ended, nil
	}
	for boot, p := range g.peers {
		if now.Sub(p.at) > lease && !p.dead {
			p.dead = true
			g.peers[boot], died = p, append(died, p)
		}
		if now.Sub(p.at) > linger {
			delete(g.peers, boot)
		}
	}
	return come, ended, died
}

// takeIn is take, with a line for each node that has come or gone.
func (r *Relay) takeIn(s standings) {
	come, ended, died := r.registry.take(s, r.cfg.Lease, r.linger(), r.trusts())
	for _, p := range come {
		if p.boot != r.boot {
			r.log.Info("another node is there", zap.String("node", p.record.Name), zap.String("boot", p.boot))
		}
	}
	for _, p := range ended {
		if p.boot != r.boot {
			r.log.Info("another node has stopped", zap.String("node", p.record.Name), zap.String("boot", p.boot))
		}
	}
	for _, p := range died {
		r.log.Warn("another node is silent and counts as dead", zap.String("node", p.record.Name), zap.String("boot", p.boot), zap.Time("since", p.at))
	}
	if len(died) > 0 {
		r.presence.look()
	}
}

// alive returns by boot the names of the nodes that were heard of so lately;
// while silence means nothing, of all that are known and had not died before.
func (r *Relay) alive(within time.Duration) map[string]string {
	g, now, trusted := &r.registry, time.Now(), r.trusts()
	g.mu.Lock()
	defer g.mu.Unlock()
	names := make(map[string]string)
	for boot, p := range g.peers {
		if now.Sub(p.at) <= within || !trusted && !p.dead {
			names[boot] = p.record.Name
		}
	}
	return names
}

// Peers lists the living nodes by name, as they were at the last heartbeat.
func (r *Relay) Peers() []Peer {
	alive := r.alive(r.cfg.Lease)
	r.registry.mu.Lock()
	defer r.registry.mu.Unlock()
	var list []Peer
	for boot, p := range r.registry.peers {
		if _, ok := alive[boot]; ok {
			list = append(list, Peer{boot, p.record.Name, p.record.Record})
		}
	}
	slices.SortFunc(list, func(a, b Peer) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Boot, b.Boot)) })
	return list
}

// describe asks the node what is to be told of it.
func (r *Relay) describe(self Self) {
	var record nodeRecord
	record.Name, record.Record = self.Record()
	text, err := json.Marshal(record)
	if err != nil {
		text = []byte(`{}`) // its record is not JSON
	}
	r.registry.mu.Lock()
	r.registry.self = text
	r.registry.mu.Unlock()
}

// describeAll does so at a pace, beside the heartbeat, which waits for nobody.
func (r *Relay) describeAll(ctx context.Context, self Self) {
	tick := time.NewTicker(r.cfg.Lease / 5)
	defer tick.Stop()
	for first := true; ; first = false {
		r.describe(self)
		if first {
			r.tell() // else the heartbeat does
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// tell writes this node's record, when it has one, and takes in the others'. It
// reports whether Redis lets them be read, though it may refuse the writing.
func (r *Relay) tell() (heard bool) {
	g := &r.registry
	g.telling.Lock()
	defer g.telling.Unlock()
	g.mu.Lock()
	boot, record := r.boot, g.self
	g.mu.Unlock()
	if record == nil || g.ended {
		boot = "" // only read
	}
	s, err := r.nodes(r.ctx, boot, record)
	if a, _ := answerOf(err); boot != "" && a.refused {
		boot = ""
		s, err = r.nodes(r.ctx, boot, nil)
	} else if boot != "" && err == nil {
		r.toldOf(s.known)
	}
	if err != nil {
		if !r.refusedBy(err) && !g.unkept {
			g.unkept = true
			r.log.Error("Redis refuses to keep what nodes tell of themselves", zap.Error(err))
		}
		return false
	}
	g.unkept = false
	r.takeIn(s)
	return true
}

// toldOf notes that this node's record was written, and whether it was there
// before. Called with telling held.
func (r *Relay) toldOf(known bool) {
	if r.registry.told && !known {
		r.log.Warn("Redis has lost what this node told of itself; it is told again")
		r.presence.look()
	}
	r.registry.told = true
}

// resign takes this node off the registry: nobody need wait for it.
func (r *Relay) resign() {
	g := &r.registry
	g.telling.Lock() // no record is written behind this
	defer g.telling.Unlock()
	if g.ended || !g.told {
		g.ended = true
		return
	}
	g.ended = true
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = r.nodes(ctx, r.boot, nil) // else it is forgotten when the lease is over
}

// isolation is whether this node has been without Redis for too long.
type isolation struct {
	is    atomic.Bool
	whole time.Time // when all was well; owned by beatAll
}

// watch tells the node when nothing has been heard of Redis for too long, and
// when it is back. Messages that were missed are found later; an order to
// disconnect somebody must not wait that long.
//
// What counts is whether this node hears: a Redis that refuses writes, or that
// serves no node yet, has no order that this one would miss. One that turns this
// node away, by a password or a right, may have: it is away.
func (r *Relay) watch(heard bool) {
	now := time.Now()
	if heard && r.feeds.connected() && r.control.heard(now) || r.heartbeat.nobody {
		r.isolation.whole = now
	}
	lost := now.Sub(r.isolation.whole) > r.cfg.Isolation
	if lost == r.isolation.is.Load() {
		return
	}
	r.isolation.is.Store(lost)
	if lost {
		r.log.Error("no contact to Redis for too long: clients are sent elsewhere")
	} else {
		r.log.Info("contact to Redis again")
	}
	if self := r.served.self.Load(); self != nil {
		(*self).Contact(!lost)
	}
}
