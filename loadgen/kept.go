package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/rows"
)

// kept is what was found of the acknowledged messages in a place that should
// have them: a server's history, or its database.
type kept struct {
	Rooms    int      `json:"rooms"`
	Messages uint64   `json:"messages"`   // that were there
	Acked    uint64   `json:"acked"`      // that were looked for
	Missing  uint64   `json:"missing"`    // of those
	Other    uint64   `json:"other"`      // another message under an acknowledged offset, or a foreign one
	Twice    uint64   `json:"duplicated"` // a message under two offsets
	Order    uint64   `json:"reordered"`  // offsets that do not rise
	Errors   []string `json:"errors,omitempty"`
}

const maxErrors = 5

func (k *kept) add(o *kept, room string, err error) {
	k.Rooms += o.Rooms
	k.Messages += o.Messages
	k.Acked += o.Acked
	k.Missing += o.Missing
	k.Other += o.Other
	k.Twice += o.Twice
	k.Order += o.Order
	if err != nil && len(k.Errors) < maxErrors {
		k.Errors = append(k.Errors, fmt.Sprintf("%s: %v", room, err))
	}
}

func (k *kept) faults(place string) (f []string) {
	bad := func(n uint64, what string) {
		if n > 0 {
			f = append(f, fmt.Sprintf("%d %s in %s", n, what, place))
		}
	}
	bad(k.Missing, "acknowledged messages missing")
	bad(k.Other, "messages that nobody should find")
	bad(k.Twice, "messages twice")
	bad(k.Order, "messages out of order")
	for _, e := range k.Errors {
		f = append(f, place+": "+e)
	}
	return f
}

func (k *kept) line() string {
	return fmt.Sprintf("%d messages of %d rooms; of %d acknowledged missing %d, other %d, duplicated %d, reordered %d",
		k.Messages, k.Rooms, k.Acked, k.Missing, k.Other, k.Twice, k.Order)
}

// comparison goes through a history beside the list of what was acknowledged,
// both by offset.
type comparison struct {
	run     string
	payload sizes
	acked   []entry // those not passed yet
	last    uint64
	ids     map[uint64]struct{}
	kept
}

func newComparison(f *fleet, m *room) *comparison {
	c := &comparison{run: f.run, payload: f.payload, acked: m.acked(), ids: map[uint64]struct{}{}}
	c.Rooms, c.Acked = 1, uint64(len(c.acked))
	return c
}

// from is the first offset to look at; some says that there is something to be
// found at all.
func (c *comparison) from() (offset uint64, some bool) {
	if len(c.acked) == 0 {
		return 0, false
	}
	return c.acked[0].offset, true
}

func (c *comparison) see(offset uint64, data []byte) {
	c.Messages++
	if offset <= c.last {
		c.Order++
		return
	}
	c.last = offset
	said, ok := parsePayload(data, c.run, c.payload)
	if !ok {
		c.Other++
		return
	}
	if _, twice := c.ids[said.id()]; twice {
		c.Twice++
	}
	c.ids[said.id()] = struct{}{}
	for len(c.acked) > 0 && c.acked[0].offset < offset {
		c.Missing++
		c.acked = c.acked[1:]
	}
	if len(c.acked) > 0 && c.acked[0].offset == offset {
		if c.acked[0].id != said.id() {
			c.Other++
		}
		c.acked = c.acked[1:]
	}
}

func (c *comparison) end() { c.Missing += uint64(len(c.acked)) }

// patiently compares until everything was found, or the deadline: a store may
// be behind what was acknowledged.
func patiently(ctx context.Context, deadline time.Time, once func() (kept, error)) (kept, error) {
	for {
		part, err := once()
		if err == nil && part.Missing == 0 || ctx.Err() != nil || !time.Now().Before(deadline) {
			return part, err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// readRows compares the rows of a database.
func (k *kept) readRows(ctx context.Context, f *fleet, db *rows.DB, patience time.Duration) {
	deadline := time.Now().Add(patience)
	for i := range f.rooms {
		m := &f.rooms[i]
		part, err := patiently(ctx, deadline, func() (kept, error) {
			c := newComparison(f, m)
			from, some := c.from()
			if !some {
				return c.kept, nil
			}
			err := db.Room(ctx, m.name, from, c.see)
			c.end()
			return c.kept, err
		})
		k.add(&part, m.name, err)
	}
}

// writeAcked writes what was acknowledged, a line each.
func writeAcked(file string, rooms []room) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	for i := range rooms {
		for _, e := range rooms[i].acked() {
			fmt.Fprintf(w, "%s\t%d\n", rooms[i].name, e.offset) // Flush has the error
		}
	}
	return errors.Join(w.Flush(), f.Close())
}
