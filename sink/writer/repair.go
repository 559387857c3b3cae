package writer

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/sink"
)

const (
	repairTimeout = 5 * time.Second
	maxRepairs    = 256 // in one round
)

// repair sees to what is owed, a round every RepairEvery. It runs beside the
// storing of batches, since the relay may take its time.
func (w *Writer) repair() {
	for sink.Sleep(w.polling, w.cfg.RepairEvery) {
		failed := 0
		for _, r := range w.due() {
			err := w.repairOne(r)
			if err == nil {
				continue
			}
			if failed++; failed == 1 && w.polling.Err() == nil {
				w.cfg.Log.Warn("a repair has to wait", zap.String("room", r.Room), zap.Uint64("offset", r.Seq), zap.Error(err))
			}
			if failed == 3 {
				break // it is not one room's fault
			}
		}
	}
}

// due returns the oldest repairs, holes before heals: a healed history should
// have no holes. A hole is one when it has been there for a moment: nodes
// produce beside each other, so a message may come just after the next one.
func (w *Writer) due() (list []sink.Repair) {
	w.mu.Lock()
	defer w.mu.Unlock()
	holes := make(map[string]bool)
	for l := range w.owed {
		if l.Seq != 0 {
			holes[l.Room] = true
		}
	}
	for _, r := range w.owed {
		if r.Seq == 0 && !holes[r.Room] || r.Seq != 0 && time.Since(r.Since) >= w.cfg.RepairEvery {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b sink.Repair) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Seq, b.Seq)) })
	return list[:min(len(list), maxRepairs)]
}

func (w *Writer) repairOne(r sink.Repair) error {
	ctx, cancel := context.WithTimeout(w.working, repairTimeout)
	defer cancel()
	if r.Seq == 0 {
		return w.heal(ctx, r)
	}
	found, err := w.find(ctx, r)
	switch {
	case err == nil && len(found) > 0 && found[len(found)-1].Offset == r.Seq:
		return w.settle(ctx, r, found, &w.counts.repaired)
	case time.Since(r.Since) < w.cfg.HoleAge:
		return err
	}
	if err := w.settle(ctx, r, nil, &w.counts.tombstones); err != nil {
		return err
	}
	w.cfg.Log.Error("a message is lost: another points at it, and nobody has it",
		zap.String("room", r.Room), zap.Uint64("offset", r.Seq), zap.Int32("partition", r.ID), zap.NamedError("stream", err))
	return nil
}

// heal renews a room's epoch.
func (w *Writer) heal(ctx context.Context, r sink.Repair) error {
	if w.cfg.Stream == nil {
		return w.settle(ctx, r, nil, new(atomic.Uint64)) // nothing is healed
	}
	if err := w.cfg.Stream.Healed(ctx, r.Room, r.Epoch); err != nil {
		return err
	}
	return w.settle(ctx, r, nil, &w.counts.heals)
}

// find asks the stream for the message that is missing, and those that may be
// missing before it.
func (w *Writer) find(ctx context.Context, r sink.Repair) ([]*schema.Message, error) {
	if w.cfg.Stream == nil {
		return nil, nil
	}
	below, err := w.cfg.Store.Below(ctx, r.Room, r.Seq)
	if err != nil {
		return nil, err
	}
	return w.cfg.Stream.Range(ctx, r.Room, below, r.Seq)
}

// settle stores what was found, counts the repair and forgets it; one that
// fails is tried again, and not counted. What was found may point at something
// that is missing in turn.
func (w *Writer) settle(ctx context.Context, r sink.Repair, found []*schema.Message, count *atomic.Uint64) error {
	c := sink.Commit{Messages: found, Done: []sink.Repair{r}}
	here := make(map[uint64]bool, len(found))
	for _, m := range found {
		if m.Prev != 0 && !here[m.Prev] {
			c.Links = append(c.Links, sink.Link{Partition: r.Partition, Room: r.Room, Seq: m.Prev})
		}
		here[m.Offset] = true
	}
	holes, err := w.cfg.Store.Commit(ctx, &c)
	if err != nil {
		return err
	}
	w.counts.holes.Add(uint64(len(holes)))
	count.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.owed[r.Link] == r {
		delete(w.owed, r.Link)
	}
	if _, ours := w.parts[r.ID]; ours {
		w.note(holes, nil, nil)
	}
	return nil
}
