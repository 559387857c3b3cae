package main

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/metrics"
	"github.com/hubbub-chat/hubbub/server/sessions"
	"github.com/hubbub-chat/hubbub/sink"
)

// delivery is how messages get their order, become durable and are found
// again: alone, or in a cluster. The settings name its parts.
type delivery interface {
	sessions.Relay // what is published; not before Attach
	sessions.Store // what is not in memory any more

	Source() fanout.Source // of the hub's rooms
	Attach(*fanout.Hub)    // begin to deliver
	Ready() error          // why nothing can be published right now
	Queue() metrics.Queue  // what is on its way to being durable

	// Drain stores what was accepted, or gives up when ctx ends. Nothing is
	// published after it.
	Drain(ctx context.Context) error
	// Close releases everything; the hub is not used any more.
	Close() error
}

// alone is the delivery of one node: it gives offsets itself, and its store
// makes messages durable.
type alone struct {
	*sink.Store
	rooms  *fanout.Stored
	direct *sink.Direct
	local  *fanout.Local
	log    *zap.Logger
}

// newAlone makes a delivery on a store, which it closes.
func newAlone(store *sink.Store, reads fanout.Reads, log *zap.Logger, committed func(records int, took time.Duration)) *alone {
	a := &alone{Store: store, rooms: fanout.NewStored(store, reads, store.Epoch()), log: log}
	// The relay and the writer need each other: the writer calls back through
	// here, and nothing is submitted before Attach.
	a.direct = sink.NewDirect(store, sink.DirectConfig{
		Mint:      func(b []*schema.Message) error { return a.local.Mint(b) },
		Committed: a.committed,
		Observe:   committed,
	})
	return a
}

func (a *alone) Source() fanout.Source  { return a.rooms }
func (a *alone) Attach(hub *fanout.Hub) { a.local = fanout.NewLocal(hub, a.rooms, a.direct) }
func (a *alone) Ready() error           { return nil }

func (a *alone) Publish(m *schema.Message, done func(error)) error { return a.local.Publish(m, done) }

func (a *alone) Event(room string, encode func([]byte, schema.Codec) []byte) {
	a.local.Event(room, encode)
}

// committed tells the relay of a batch. A failure is worth a line: it is the
// disk's.
func (a *alone) committed(batch []*schema.Message, err error) {
	if err != nil {
		a.log.Error("a batch could not be stored", zap.Int("messages", len(batch)), zap.Error(err))
	}
	a.local.Committed(batch, err)
}

func (a *alone) Queue() metrics.Queue {
	s := a.direct.Stats()
	return metrics.Queue{Records: s.Records, Bytes: s.Bytes, Refused: s.Refused}
}

func (a *alone) Drain(ctx context.Context) error { return a.direct.Close(ctx) }

// Close implements delivery. A delivery that was never attached has nothing
// to drain.
func (a *alone) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return errors.Join(a.direct.Close(ctx), a.Store.Close())
}
