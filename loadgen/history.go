package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/centrifugal/protocol"
	"github.com/centrifugal/protocol/cfjson"

	"github.com/hubbub-chat/hubbub/loadgen/blocking"
	"github.com/hubbub-chat/hubbub/loadgen/check"
	"github.com/hubbub-chat/hubbub/loadgen/report"
)

const (
	historyReaders = 4    // at once, each with a connection
	historyPage    = 1000 // messages asked for; a server gives what it likes
)

// histories reads all rooms' histories. A store may be behind what was
// acknowledged: what is missing is looked for again until patience is over.
func (p *proof) histories(ctx context.Context, patience time.Duration) *report.History {
	h := new(report.History)
	var mu sync.Mutex
	var wg sync.WaitGroup
	rooms, pages := make(chan *promise), report.NewLatency()
	deadline := time.Now().Add(patience)
	for i := range min(historyReaders, len(p.rooms)) {
		wg.Go(func() { // ends with rooms
			a := &archivist{proof: p, next: i, page: report.NewLatency()}
			defer a.close()
			for m := range rooms {
				part, err := a.room(ctx, m, deadline)
				mu.Lock()
				h.Add(&part, m.room, err)
				mu.Unlock()
			}
			mu.Lock()
			h.Pages += a.pages
			pages.Merge(a.page)
			mu.Unlock()
		})
	}
	for i := range p.rooms {
		rooms <- &p.rooms[i]
	}
	close(rooms)
	wg.Wait()
	h.Page = pages.Quantiles()
	return h
}

// archivist reads histories over a connection of its own.
type archivist struct {
	proof  *proof
	next   int // the endpoint it connects to next
	conn   *blocking.Conn
	lastID uint32
	pages  int
	page   report.Latency
}

func (a *archivist) close() {
	if a.conn != nil {
		_ = a.conn.Close()
		a.conn = nil
	}
}

// room reads one room until everything was found, or the deadline.
func (a *archivist) room(ctx context.Context, m *promise, deadline time.Time) (part check.Kept, err error) {
	return patiently(ctx, deadline, func() (check.Kept, error) {
		part, err := a.once(ctx, m)
		if err != nil {
			a.close() // and try another connection
		}
		return part, err
	})
}

// once reads a room from the first acknowledged message to its end.
func (a *archivist) once(ctx context.Context, m *promise) (check.Kept, error) {
	c := a.proof.compare(m)
	from, some := c.From()
	if !some {
		return c.Kept, nil
	}
	from--
	for {
		res, err := a.ask(ctx, m.room, from)
		if err != nil {
			return c.Kept, err
		}
		a.pages++
		for _, p := range res.Publications {
			c.See(p.Offset, p.Data)
			from = max(from, p.Offset)
		}
		if len(res.Publications) == 0 || from >= res.Offset {
			c.End()
			return c.Kept, nil
		}
	}
}

// ask reads one page.
func (a *archivist) ask(ctx context.Context, room string, from uint64) (*protocol.HistoryResult, error) {
	if err := a.connect(ctx); err != nil {
		return nil, err
	}
	began := time.Now()
	_ = a.conn.SetDeadline(began.Add(10 * time.Second)) // a failure shows in what follows
	res, err := a.command(&protocol.Command{History: &protocol.HistoryRequest{
		Channel: room, Limit: historyPage, Since: &protocol.StreamPosition{Offset: from},
	}})
	if err != nil {
		return nil, err
	}
	if res.History == nil {
		return nil, errors.New("a reply without a history")
	}
	a.page.Record(int64(time.Since(began)))
	return res.History, nil
}

func (a *archivist) connect(ctx context.Context) error {
	if a.conn != nil {
		return nil
	}
	e := a.proof.endpoints[a.next%len(a.proof.endpoints)]
	a.next++ // one that fails is not tried again at once
	dial := blocking.Dial{Addr: e.addr, Host: e.host, URI: e.uri}
	var err error
	if a.conn, err = dial.Open(ctx); err != nil {
		return err
	}
	_ = a.conn.SetDeadline(time.Now().Add(10 * time.Second)) // a failure shows in what follows
	_, err = a.command(&protocol.Command{Connect: &protocol.ConnectRequest{}})
	return err
}

// command sends one and waits for its reply. Pings meanwhile are answered.
func (a *archivist) command(cmd *protocol.Command) (*protocol.Reply, error) {
	a.lastID++
	cmd.Id = a.lastID
	if err := a.conn.Send(blocking.Text, cmd.AppendJSON(nil)); err != nil {
		return nil, err
	}
	for {
		frame, err := a.conn.ReadMessage()
		if err != nil {
			return nil, err
		}
		r := new(protocol.Reply)
		if err := cfjson.Unmarshal(frame, r, 0); err != nil {
			return nil, err
		}
		switch {
		case r.Id == cmd.Id && r.Error != nil:
			return nil, fmt.Errorf("error %d %s", r.Error.Code, r.Error.Message)
		case r.Id == cmd.Id:
			return r, nil
		case r.Id == 0 && r.Push == nil:
			if err := a.conn.Send(blocking.Text, []byte("{}")); err != nil {
				return nil, err
			}
		}
	}
}
