package sink

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"

	"github.com/hubbub-chat/hubbub/schema"
)

// chunkRows is how many rows one INSERT carries. A batch to one room gains a
// third from 1 to 32 rows and nothing beyond.
const chunkRows = 32

// writer is the connection that writes, with everything prepared on it. It
// pins one sql.Conn and says BEGIN and COMMIT in prepared statements: a sql.Tx
// parses both each time and starts a goroutine, which costs a batch of one
// message half as much again. Going below database/sql to the driver gained
// under a tenth more and would have tied the writer to SQLite.
//
// It belongs to the goroutine that holds Store.mu.
type writer struct {
	// Immutable.
	conn                    *sql.Conn
	begin, commit, rollback *sql.Stmt
	messages, sends         inserter
	findSend                *sql.Stmt

	rows   []row // the batch, kept for its memory
	keyed  []int // indices of the rows with a key, in their order
	broken bool  // a transaction may still be open: only close is left
}

// row is a message about to be stored.
type row struct {
	*schema.Message
	dupOf int64
}

// inserter is a multiRow prepared for one row and for chunkRows.
type inserter struct {
	one, many *sql.Stmt
	args      []any // chunkRows rows of them, kept for its memory
}

// newWriter takes a connection from db and prepares the statements.
func newWriter(ctx context.Context, db *sql.DB, d *dialect) (*writer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	w := &writer{conn: conn}
	w.messages.args = make([]any, 0, chunkRows*d.insertMessages.columns)
	w.sends.args = make([]any, 0, chunkRows*d.claimSends.columns)
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&w.begin, d.begin}, {&w.commit, d.commit}, {&w.rollback, d.rollback},
		{&w.messages.one, d.insertMessages.text(1)}, {&w.messages.many, d.insertMessages.text(chunkRows)},
		{&w.sends.one, d.claimSends.text(1)}, {&w.sends.many, d.claimSends.text(chunkRows)},
		{&w.findSend, d.findSend},
	} {
		if *p.stmt, err = conn.PrepareContext(ctx, p.text); err != nil {
			return nil, errors.Join(fmt.Errorf("prepare %.40q: %w", p.text, err), w.close())
		}
	}
	return w, nil
}

// close gives the connection back, and away if a transaction may be open.
func (w *writer) close() error {
	var errs []error
	for _, s := range []*sql.Stmt{
		w.begin, w.commit, w.rollback, w.messages.one, w.messages.many, w.sends.one, w.sends.many, w.findSend,
	} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	if w.broken {
		discard := func(any) error { return driver.ErrBadConn } // database/sql then closes it
		if err := w.conn.Raw(discard); !errors.Is(err, driver.ErrBadConn) {
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, w.conn.Close())...)
}

// append stores the batch in one transaction. See Store.Append.
func (w *writer) append(ctx context.Context, batch []*schema.Message) error {
	w.take(batch)
	defer w.drop()
	// The driver starts a goroutine for each statement whose context can end.
	// Statements take microseconds: ctx is looked at between them instead.
	bg := context.WithoutCancel(ctx)
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := w.begin.ExecContext(bg); err != nil {
		w.broken = !errors.Is(busy(err), ErrBusy)
		return fmt.Errorf("begin: %w", err)
	}
	err := w.claimSends(ctx, bg)
	if err == nil {
		err = w.insertMessages(ctx, bg)
	}
	if err == nil {
		if _, err = w.commit.ExecContext(bg); err == nil {
			return nil
		}
		err = fmt.Errorf("commit: %w", err)
	}
	if _, e := w.rollback.ExecContext(bg); e != nil {
		// SQLite rolls some failures back by itself, a full disk for one, and
		// then refuses to do it again. The driver does not say which is the
		// case, and a new connection costs less than an hour of wrong guesses.
		w.broken = true
	}
	return err
}

// take puts the batch in the order of the primary key: neighbours share pages,
// and where several writers lock rows, all lock them in one order.
func (w *writer) take(batch []*schema.Message) {
	for _, m := range batch {
		w.rows = append(w.rows, row{Message: m})
	}
	slices.SortFunc(w.rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.Room, b.Room), cmp.Compare(a.Offset, b.Offset))
	})
	for i, r := range w.rows {
		if r.Key != "" {
			w.keyed = append(w.keyed, i)
		}
	}
}

// drop lets go of the messages and keeps the memory.
func (w *writer) drop() {
	clear(w.rows)
	clear(w.messages.args[:cap(w.messages.args)])
	clear(w.sends.args[:cap(w.sends.args)])
	w.rows, w.keyed = w.rows[:0], w.keyed[:0]
}

// claimSends records what each key was first used for, and marks the rows
// whose key had been used before. Most have not: as many rows added as given
// says so, and nothing needs to be read back.
func (w *writer) claimSends(ctx, bg context.Context) error {
	for chunk := range slices.Chunk(w.keyed, chunkRows) {
		if err := ctx.Err(); err != nil {
			return err
		}
		added, err := w.claim(bg, chunk)
		if err != nil {
			return fmt.Errorf("claim %d keys: %w", len(chunk), err)
		}
		if added == int64(len(chunk)) {
			continue
		}
		for _, i := range chunk {
			r := &w.rows[i]
			var first int64
			if err := w.findSend.QueryRowContext(bg, r.Room, r.User, r.Key).Scan(&first); err != nil {
				return fmt.Errorf("find a key of room %q: %w", r.Room, err)
			}
			if first != int64(r.Offset) {
				r.dupOf = first
			}
		}
	}
	return nil
}

// claim inserts the keys of a chunk, and returns how many were new.
func (w *writer) claim(bg context.Context, chunk []int) (added int64, err error) {
	width := 1
	if len(chunk) == chunkRows {
		width = chunkRows
	}
	for part := range slices.Chunk(chunk, width) {
		args := w.sends.args[:0]
		for _, i := range part {
			r := &w.rows[i]
			args = append(args, r.Room, r.User, r.Key, int64(r.Offset))
		}
		n, err := w.sends.exec(bg, width, args)
		if err != nil {
			return 0, err
		}
		added += n
	}
	return added, nil
}

// insertMessages inserts all rows, chunkRows at a time and the rest singly.
func (w *writer) insertMessages(ctx, bg context.Context) error {
	for rest := w.rows; len(rest) > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		width := 1
		if len(rest) >= chunkRows {
			width = chunkRows
		}
		args := w.messages.args[:0]
		for i := range rest[:width] {
			r := &rest[i]
			args = append(args, r.Room, int64(r.Offset), int64(r.Prev), r.User, r.Client,
				notNull(r.Info), r.Key, r.dupOf, notNull(r.Data))
		}
		if _, err := w.messages.exec(bg, width, args); err != nil {
			return fmt.Errorf("insert from room %q offset %d: %w", rest[0].Room, rest[0].Offset, err)
		}
		rest = rest[width:]
	}
	return nil
}

// exec inserts 1 or chunkRows rows, and returns how many the database counts.
func (i *inserter) exec(ctx context.Context, rows int, args []any) (int64, error) {
	stmt := i.one
	if rows == chunkRows {
		stmt = i.many
	}
	result, err := stmt.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// notNull keeps a nil slice from becoming NULL.
func notNull(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
