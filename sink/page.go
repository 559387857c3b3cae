package sink

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/hubbub-chat/hubbub/schema"
)

// After returns the room's messages with after < offset <= upTo, oldest first;
// upTo 0 stands for no bound. It returns at most limit messages, and stops
// before the one that would bring their Size above maxBytes, except that one
// message is returned if there is any.
func (s *Store) After(ctx context.Context, room string, after, upTo uint64, limit, maxBytes int) ([]*schema.Message, error) {
	if upTo == 0 {
		upTo = math.MaxInt64
	}
	p := page{room: room, limit: limit, maxBytes: maxBytes, from: after}
	err := p.fill(func(from uint64, limit int) error {
		return p.read(ctx, &s.after, room, signed(from), signed(upTo), limit)
	})
	if err = s.read(err); err != nil {
		return nil, fmt.Errorf("read room %q after %d: %w", room, after, err)
	}
	return p.list, nil
}

// Before returns the room's messages with an offset below before, newest
// first; before 0 starts at the newest. limit and maxBytes are those of After.
func (s *Store) Before(ctx context.Context, room string, before uint64, limit, maxBytes int) ([]*schema.Message, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	p := page{room: room, limit: limit, maxBytes: maxBytes, from: before}
	err := p.fill(func(from uint64, limit int) error {
		return p.read(ctx, &s.before, room, signed(from), limit)
	})
	if err = s.read(err); err != nil {
		return nil, fmt.Errorf("read room %q before %d: %w", room, before, err)
	}
	return p.list, nil
}

// page is messages of a room that are next to each other, as they are read.
type page struct {
	room            string
	limit, maxBytes int
	from            uint64 // what to read next is beyond this offset

	list []*schema.Message
	size int
	full bool // the next message does not fit any more
}

// fill asks for the page, and where the answer is larger than the server gives
// for smaller and smaller parts of it: what is asked for is a number of messages,
// and how large they are shows only then.
func (p *page) fill(ask func(from uint64, limit int) error) error {
	for step := max(p.limit, 0); ; {
		n := min(step, p.limit-len(p.list))
		had := len(p.list)
		switch err := ask(p.from, max(n, 0)); {
		case isTooLarge(err) && n > 1:
			step = n / 2
		case err != nil:
			return err
		case p.full, len(p.list)-had < n, len(p.list) >= p.limit:
			return nil
		}
	}
}

// read runs a query of pageColumns and adds what it finds.
func (p *page) read(ctx context.Context, q *query, args ...any) (err error) {
	rows, err := q.rows(ctx, args...)
	if err != nil {
		return err
	}
	defer func() {
		if e := rows.Close(); err == nil {
			err = e
		}
	}()
	for rows.Next() {
		m := &schema.Message{Room: p.room}
		if err := rows.Scan(&m.Offset, &m.Prev, &m.User, &m.Client, &m.Info, &m.Key, &m.Data); err != nil {
			return err
		}
		if len(m.Info) == 0 {
			m.Info = nil // the column knows no difference
		}
		if p.size += m.Size(); p.size > p.maxBytes && len(p.list) > 0 {
			p.full = true
			break
		}
		p.list, p.from = append(p.list, m), m.Offset
	}
	return rows.Err()
}

// isTooLarge reports an answer that Vitess does not give for its size: more
// rows than --queryserver-config-max-result-size, or more bytes than one
// message of gRPC between vtgate and a vttablet has.
func isTooLarge(err error) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && (strings.Contains(e.Message, "Row count exceeded") || strings.Contains(e.Message, "message larger than max"))
}
