package sink

import (
	"context"
	"fmt"
	"time"
)

// Block keeps that a user may not connect until a Unix time, 0 for no end.
func (s *Store) Block(ctx context.Context, user string, until int64) error {
	if _, err := s.change(ctx, s.dialect.block, user, until); err != nil {
		return fmt.Errorf("block a user: %w", err)
	}
	return nil
}

// Unblock keeps that a user may connect again.
func (s *Store) Unblock(ctx context.Context, user string) error {
	if _, err := s.change(ctx, s.dialect.unblock, user); err != nil {
		return fmt.Errorf("unblock a user: %w", err)
	}
	return nil
}

// blockedPage is how many rows one statement on blocked users reads or deletes.
// Vitess refuses statements with more than 10,000
// (--queryserver-config-max-result-size).
const blockedPage = 5000

// Blocked returns the users who may not connect now: to Unix seconds, 0 for no
// end. Entries whose time is over are dropped.
func (s *Store) Blocked(ctx context.Context) (map[string]int64, error) {
	now := time.Now().Unix()
	if err := s.dropBlocked(ctx, now); err != nil {
		return nil, fmt.Errorf("drop old entries of blocked users: %w", err)
	}
	users := make(map[string]int64)
	for after := ""; ; {
		rows, last, err := s.readBlocked(ctx, users, after, now)
		if err != nil {
			return nil, fmt.Errorf("read the blocked users: %w", err)
		}
		if rows < blockedPage {
			return users, nil
		}
		after = last
	}
}

// dropBlocked deletes the entries that ended before now, a page at a time.
func (s *Store) dropBlocked(ctx context.Context, now int64) error {
	for {
		dropped, err := s.change(ctx, s.dialect.dropBlocked, now, blockedPage)
		if err != nil || dropped < blockedPage {
			return err
		}
	}
}

// readBlocked adds a page of users to a list, and returns how many rows it had
// and the last user in it.
func (s *Store) readBlocked(ctx context.Context, users map[string]int64, after string, now int64) (n int, last string, err error) {
	rows, err := s.reads.QueryContext(ctx, s.dialect.blocked, after, now, blockedPage)
	if err != nil {
		return 0, "", err
	}
	defer rows.Close()
	for rows.Next() {
		var ends int64
		if err := rows.Scan(&last, &ends); err != nil {
			return 0, "", err
		}
		users[last] = ends
		n++
	}
	return n, last, rows.Err()
}

// change runs a statement that changes something small, between two batches,
// and returns how many rows it changed.
func (s *Store) change(ctx context.Context, text string, args ...any) (rows int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, ErrClosed
	}
	rows, err = s.exec(ctx, text, args...)
	err = s.dialect.classify(err)
	s.health.wrote(err)
	return rows, err
}

// exec runs a statement that writes, and returns how many rows it changed. The
// caller holds mu.
func (s *Store) exec(ctx context.Context, text string, args ...any) (rows int64, err error) {
	s.tried.Store(time.Now().UnixNano())
	if err := s.checkFiles(); err != nil {
		return 0, err
	}
	var on executor = s.writes
	if s.dialect.prepared {
		if s.writer == nil {
			if s.writer, err = newWriter(ctx, s.writes, s.dialect); err != nil {
				return 0, err
			}
		}
		on = s.writer.conn // the only connection that writes
	}
	result, err := on.ExecContext(ctx, text, args...)
	if err != nil {
		return 0, err
	}
	if rows, err = result.RowsAffected(); err == nil {
		err = s.checkStored()
	}
	return rows, err
}
