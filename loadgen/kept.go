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
func readRows(ctx context.Context, f *fleet, db *rows.DB, patience time.Duration) *kept {
	k := new(kept)
	deadline := time.Now().Add(patience)
	for i := range f.rooms {
		m := &f.rooms[i]
		part, err := patiently(ctx, deadline, func() (kept, error) {
			c := newComparison(f.run, f.payload, m)
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
	return k
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
