package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/check"
	"github.com/hubbub-chat/hubbub/loadgen/rows"
)

// patiently compares until everything was found, or the deadline: a store may
// be behind what was acknowledged.
func patiently(ctx context.Context, deadline time.Time, once func() (check.Kept, error)) (check.Kept, error) {
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
func readRows(ctx context.Context, f *fleet, db *rows.DB, patience time.Duration) *check.Kept {
	k := new(check.Kept)
	deadline := time.Now().Add(patience)
	for i := range f.rooms {
		m := &f.rooms[i]
		part, err := patiently(ctx, deadline, func() (check.Kept, error) {
			c := check.NewComparison(f.run, f.payload, m)
			from, some := c.From()
			if !some {
				return c.Kept, nil
			}
			err := db.Room(ctx, m.Name, from, c.See)
			c.End()
			return c.Kept, err
		})
		k.Add(&part, m.Name, err)
	}
	return k
}

// writeAcked writes what was acknowledged, a line each.
func writeAcked(file string, rooms []check.Room) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	for i := range rooms {
		for _, e := range rooms[i].Acked() {
			fmt.Fprintf(w, "%s\t%d\n", rooms[i].Name, e.Offset) // Flush has the error
		}
	}
	return errors.Join(w.Flush(), f.Close())
}
