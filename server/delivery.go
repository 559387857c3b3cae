package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/api"
	"github.com/hubbub-chat/hubbub/server/metrics"
	"github.com/hubbub-chat/hubbub/server/sessions"
	"github.com/hubbub-chat/hubbub/sink"
)

// delivery is how messages get their order, become durable and are found
// again: alone, or in a cluster. The settings name its parts.
type delivery interface {
	sessions.Relay // what is published; not before Attach
	sessions.Store // what is not in memory any more

	api.Blocked
	Blocked(context.Context) (map[string]int64, error) // who may not connect: until when

	Source() fanout.Source       // of the hub's rooms
	Attach(*fanout.Hub)          // begin to deliver
	Ready(context.Context) error // why nothing can be published right now
	Queue() metrics.Queue        // what is on its way to being durable

	// Drain stores what was accepted, or gives up when ctx ends. Nothing is
	// published after it.
	Drain(ctx context.Context) error
	// Close releases everything; the hub is not used any more.
	Close() error
}

// newDelivery makes what the settings name.
func (n *Node) newDelivery() (delivery, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	switch {
	case n.cfg.Redis != "":
		c, err := n.newCluster(ctx)
		if err != nil {
			return nil, err // not c: a nil pointer in an interface is not nil
		}
		return c, nil
	case n.cfg.MySQL != "":
		store, err := n.openMySQL(ctx)
		if err != nil {
			return nil, err
		}
		return n.newAlone(store.Store), nil
	}
	store, err := sink.OpenSQLite(n.cfg.Data, n.cfg.Sync, n.log)
	if err != nil {
		return nil, err
	}
	return n.newAlone(store), nil
}

// startTimeout is how long the parts of a cluster may take to answer at first.
const startTimeout = 20 * time.Second

func (n *Node) openMySQL(ctx context.Context) (*sink.MySQL, error) {
	cfg, err := n.cfg.mysqlConfig()
	if err != nil {
		return nil, err
	}
	cfg.Log = n.log
	store, err := sink.OpenMySQL(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("--mysql: %w", err)
	}
	return store, nil
}

// committed counts a transaction of the store.
func (n *Node) committed(records int, took time.Duration) { n.metrics.Committed(records, took) }

// alone is the delivery of one node: it gives offsets itself, and its store
// makes messages durable.
type alone struct {
	*sink.Store
	history readable // of the store
	rooms   *fanout.Stored
	direct  *sink.Direct
	local   *fanout.Local
	log     *zap.Logger
}

// maxCommit is how old the oldest message that is not stored may be before new
// ones are refused: an answer is due after 4 s.
const maxCommit = 2 * time.Second

// newAlone makes the delivery on a store, and has its figures watched.
func (n *Node) newAlone(store *sink.Store) *alone {
	n.metrics.Watch(metrics.Backends{Store: store.Stats, States: []metrics.Backend{store.Contact()}})
	return newAlone(store, n.reads, n.log, n.committed)
}

// newAlone makes a delivery on a store, which it closes.
func newAlone(store *sink.Store, reads fanout.Reads, log *zap.Logger, committed func(records int, took time.Duration)) *alone {
	a := &alone{Store: store, history: readable{store}, log: log}
	a.rooms = fanout.NewStored(a.history, reads, store.Epoch())
	// The relay and the writer need each other: the writer calls back through
	// here, and nothing is submitted before Attach.
	a.direct = sink.NewDirect(store, sink.DirectConfig{
		Mint:      func(b []*schema.Message) error { return a.local.Mint(b) },
		Committed: a.committed,
		Observe:   committed,
		MaxAge:    maxCommit,
		Refusal:   schema.ErrTooManyRequests.Because("the database refuses writes"),
	})
	return a
}

func (a *alone) Source() fanout.Source  { return a.rooms }
func (a *alone) Attach(hub *fanout.Hub) { a.local = fanout.NewLocal(hub, a.rooms, a.direct) }

// Ready implements delivery.
func (a *alone) Ready(ctx context.Context) error {
	if err := a.Contact().Status().Problem(a.Contact().Name()); err != nil {
		return err
	}
	return a.direct.Ready(ctx)
}

func (a *alone) After(ctx context.Context, room string, after, upTo uint64, limit, maxBytes int) ([]*schema.Message, error) {
	return a.history.After(ctx, room, after, upTo, limit, maxBytes)
}

func (a *alone) Before(ctx context.Context, room string, before uint64, limit, maxBytes int) ([]*schema.Message, error) {
	return a.history.Before(ctx, room, before, limit, maxBytes)
}

func (a *alone) Publish(m *schema.Message, done func(error)) error { return a.local.Publish(m, done) }

func (a *alone) Event(room string, encode func([]byte, schema.Codec) []byte) {
	a.local.Event(room, encode)
}

func (a *alone) Announce(room string, encode func([]byte, schema.Codec) []byte) {
	a.local.Announce(room, encode)
}

// committed tells the relay of a batch. A failure that is the batch's own is
// worth a line; those of the disk are a state, which is said when it changes.
func (a *alone) committed(batch []*schema.Message, err error) {
	if err != nil && !errors.Is(err, sink.ErrRefused) && !errors.Is(err, sink.ErrUnavailable) {
		a.log.Error("a batch could not be stored", zap.Int("messages", len(batch)), zap.Error(err))
	}
	a.local.Committed(batch, err)
}

func (a *alone) Queue() metrics.Queue {
	s := a.direct.Stats()
	return metrics.Queue{Records: s.Records, Bytes: s.Bytes, Refused: s.Refused, Stalled: s.Stalled}
}

func (a *alone) Drain(ctx context.Context) error { return a.direct.Close(ctx) }

// Close implements delivery. A delivery that was never attached has nothing
// to drain.
func (a *alone) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return errors.Join(a.direct.Close(ctx), a.Store.Close())
}
