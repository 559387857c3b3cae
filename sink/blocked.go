package sink

import (
	"context"
	"fmt"
	"time"
)

// Block keeps that a user may not connect until a Unix time, 0 for no end.
func (s *Store) Block(ctx context.Context, user string, until int64) error {
	if err := s.change(ctx, s.dialect.block, user, until); err != nil {
		return fmt.Errorf("block a user: %w", err)
	}
	return nil
}

// Unblock keeps that a user may connect again.
func (s *Store) Unblock(ctx context.Context, user string) error {
	if err := s.change(ctx, s.dialect.unblock, user); err != nil {
		return fmt.Errorf("unblock a user: %w", err)
	}
	return nil
}

// Blocked returns the users who may not connect now: to Unix seconds, 0 for no
// end. Entries whose time is over are dropped.
func (s *Store) Blocked(ctx context.Context) (map[string]int64, error) {
	now := time.Now().Unix()
	if err := s.change(ctx, s.dialect.dropBlocked, now); err != nil {
		return nil, fmt.Errorf("drop old entries of blocked users: %w", err)
	}
	rows, err := s.reads.QueryContext(ctx, s.dialect.blocked, now)
	if err != nil {
		return nil, fmt.Errorf("read the blocked users: %w", err)
	}
	defer rows.Close()
	users := make(map[string]int64)
	for rows.Next() {
		var name string
		var ends int64
		if err := rows.Scan(&name, &ends); err != nil {
			return nil, fmt.Errorf("read the blocked users: %w", err)
		}
		users[name] = ends
	}
	return users, rows.Err()
}

// change runs a statement that changes something small, between two batches.
func (s *Store) change(ctx context.Context, text string, args ...any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	err := s.dialect.classify(s.exec(ctx, text, args...))
	s.health.wrote(err)
	return err
}

// exec runs a statement that writes. The caller holds mu.
func (s *Store) exec(ctx context.Context, text string, args ...any) (err error) {
	s.tried.Store(time.Now().UnixNano())
	if !s.dialect.prepared {
		_, err = s.writes.ExecContext(ctx, text, args...)
		return err
	}
	if s.writer == nil {
		if s.writer, err = newWriter(ctx, s.writes, s.dialect); err != nil {
			return err
		}
	}
	if _, err = s.writer.conn.ExecContext(ctx, text, args...); err == nil { // the only connection that writes
		err = s.checkFiles()
	}
	return err
}
