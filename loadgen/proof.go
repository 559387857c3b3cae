package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/check"
	"github.com/hubbub-chat/hubbub/loadgen/report"
	"github.com/hubbub-chat/hubbub/loadgen/rows"
)

// witnesses are where what was acknowledged is looked for at the end.
type witnesses struct {
	History     bool          `help:"Read every room's history at the end and compare it with what was acknowledged." negatable:"" json:"history"`
	HistoryWait time.Duration `help:"How long the history may take to have everything (default ${default})." default:"10s" json:"history_wait_ns"`
	MySQL       string        `name:"mysql" env:"LOADGEN_MYSQL" help:"Compare the rows of this database with what was acknowledged, too (user:password@tcp(host:port)/name)." placeholder:"DSN" json:"-"`
	AckedFile   report.File   `name:"acked-file" help:"Write what was acknowledged there at the end: a line of room, tab, offset each." placeholder:"FILE" json:"acked_file,omitempty"`

	db *rows.DB // of MySQL, when open has been called
}

func (w *witnesses) wanted() bool { return w.History || w.MySQL != "" || w.AckedFile != "" }

// open connects to the database, before anything else is done: a bad DSN
// should not show at the end of an hour. The caller calls close.
func (w *witnesses) open(ctx context.Context) (err error) {
	if w.MySQL == "" {
		return nil
	}
	if w.db, err = rows.Open(ctx, w.MySQL); err != nil {
		return usageError("--mysql: " + err.Error())
	}
	return nil
}

func (w *witnesses) close() {
	if w.db != nil {
		_ = w.db.Close() // it was only read
	}
}

// hear asks them all and writes down what they say. A list that cannot be written is
// a fault: what was measured is not lost with it.
func (w *witnesses) hear(ctx context.Context, p *proof, r *report.Report) {
	if w.AckedFile != "" {
		if err := p.save(w.AckedFile); err != nil {
			r.Faults = append(r.Faults, fmt.Sprintf("--acked-file: %v", err))
		}
	}
	if w.History {
		r.History = p.histories(ctx, w.HistoryWait)
	}
	if w.db != nil {
		r.Rows = p.rows(ctx, w.db, w.HistoryWait)
	}
}

// proof is what a run's server acknowledged, room by room, and where it can be
// asked whether it still has it.
type proof struct {
	run       string
	payload   check.Sizes
	endpoints []endpoint
	rooms     []promise
}

// promise is what was acknowledged in one room, by offset: 16 bytes a message.
type promise struct {
	room  string
	acked []check.Entry
}

// proof is the fleet's, whose clients must have come to rest.
func (f *fleet) proof() *proof {
	p := &proof{run: f.run, payload: f.payload, endpoints: f.endpoints}
	for i := range f.rooms {
		p.rooms = append(p.rooms, promise{f.rooms[i].Name, f.rooms[i].Acked()})
	}
	return p
}

// compare begins a comparison with what a witness has of one room.
func (p *proof) compare(m *promise) *check.Comparison {
	return check.NewComparison(p.run, p.payload, m.acked)
}

// save writes what was acknowledged, a line each.
func (p *proof) save(file report.File) error {
	return file.Write(func(w io.Writer) error {
		for i := range p.rooms {
			for _, e := range p.rooms[i].acked {
				if _, err := fmt.Fprintf(w, "%s\t%d\n", p.rooms[i].room, e.Offset); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// rows compares the rows of a database.
func (p *proof) rows(ctx context.Context, db *rows.DB, patience time.Duration) *check.Kept {
	k := new(check.Kept)
	deadline := time.Now().Add(patience)
	for i := range p.rooms {
		m := &p.rooms[i]
		part, err := patiently(ctx, deadline, func() (check.Kept, error) {
			c := p.compare(m)
			from, some := c.From()
			if !some {
				return c.Kept, nil
			}
			err := db.Room(ctx, m.room, from, c.See)
			c.End()
			return c.Kept, err
		})
		k.Add(&part, m.room, err)
	}
	return k
}

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
