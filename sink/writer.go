package sink

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/hubbub-chat/hubbub/schema"
)

// writer says the statements that write, on one connection at a time.
//
// For SQLite it keeps that connection, with everything prepared on it, and
// says BEGIN and COMMIT in prepared statements: a sql.Tx parses both each time
// and starts a goroutine, which costs a batch of one message half as much
// again. Going below database/sql to the driver gained under a tenth more and
// would have tied the writer to SQLite. For MySQL it borrows a connection for
// each batch, so that the pool may replace those that are old or dead, and
// says everything as text: one round trip a statement, and none to prepare.
//
// It belongs to the goroutine that holds Store.mu.
type writer struct {
	// Immutable.
	dialect                           *dialect
	db                                *sql.DB
	begin, commit, rollback, findSend statement
	messages, sends                   inserter
	maxSize                           int // of a message; 0: no limit

	conn   *sql.Conn // kept, or borrowed for a batch
	rows   []row     // the batch, kept for its memory
	keyed  []int     // indices of the rows with a key, in their order
	broken bool      // a transaction may still be open: only close is left
}

// row is a message about to be stored.
type row struct {
	*schema.Message
	dupOf int64
}

// statement is one text, prepared where the dialect says so.
type statement struct {
	text string
	stmt *sql.Stmt
}

// inserter is a multiRow: prepared for one row and for a full page, or as a
// text for any number.
type inserter struct {
	multiRow
	page      int
	one, many statement
	args      []any // a page of them, kept for its memory
}

// newWriter makes a writer, and prepares its statements on a connection from
// db where the dialect says so.
func newWriter(ctx context.Context, db *sql.DB, d *dialect) (_ *writer, err error) {
	w := &writer{
		dialect: d, db: db,
		begin: statement{text: d.begin}, commit: statement{text: d.commit}, rollback: statement{text: d.rollback},
		findSend: statement{text: d.findSend},
		messages: newInserter(d.insertMessages, d.pageRows),
		sends:    newInserter(d.claimSends, d.pageRows),
	}
	if !d.prepared {
		return w, nil
	}
	if w.conn, err = db.Conn(ctx); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	for _, s := range w.statements() {
		if s.stmt, err = w.conn.PrepareContext(ctx, s.text); err != nil {
			return nil, errors.Join(fmt.Errorf("prepare %.40q: %w", s.text, err), w.close())
		}
	}
	return w, nil
}

func newInserter(m multiRow, page int) inserter {
	return inserter{
		multiRow: m, page: page, args: make([]any, 0, page*m.columns),
		one: statement{text: m.text(1)}, many: statement{text: m.text(page)},
	}
}

func (w *writer) statements() []*statement {
	return []*statement{
		&w.begin, &w.commit, &w.rollback, &w.findSend,
		&w.messages.one, &w.messages.many, &w.sends.one, &w.sends.many,
	}
}

// close gives the connection back, and away if a transaction may be open.
func (w *writer) close() error {
	var errs []error
	for _, s := range w.statements() {
		if s.stmt != nil {
			errs = append(errs, s.stmt.Close())
		}
	}
	return errors.Join(append(errs, w.letGo())...)
}

// letGo gives back the connection, if there is one.
func (w *writer) letGo() error {
	conn := w.conn
	if w.conn = nil; conn == nil {
		return nil
	}
	if w.broken {
		discard := func(any) error { return driver.ErrBadConn } // database/sql then closes it
		if err := conn.Raw(discard); !errors.Is(err, driver.ErrBadConn) && !errors.Is(err, sql.ErrConnDone) {
			return err
		}
		return nil
	}
	return conn.Close()
}

// executor is a connection, or a pool of them.
type executor interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func (w *writer) exec(ctx context.Context, s *statement, args ...any) (sql.Result, error) {
	if s.stmt != nil {
		return s.stmt.ExecContext(ctx, args...)
	}
	return w.conn.ExecContext(ctx, s.text, args...)
}

func (w *writer) queryRow(ctx context.Context, s *statement, args ...any) *sql.Row {
	if s.stmt != nil {
		return s.stmt.QueryRowContext(ctx, args...)
	}
	return w.conn.QueryRowContext(ctx, s.text, args...)
}

// append stores the batch in one transaction. See Store.Append.
func (w *writer) append(ctx context.Context, batch []*schema.Message) error {
	defer w.drop()
	if err := w.take(batch); err != nil {
		return err
	}
	return w.transaction(ctx, w.insert)
}

// transaction runs f in one. ctx is looked at between statements only: the
// driver of SQLite starts a goroutine for each whose context can end, and they
// take microseconds; MySQL's have time-outs of their own. So f is given both
// contexts.
func (w *writer) transaction(ctx context.Context, f func(ctx, bg context.Context) error) (err error) {
	bg := context.WithoutCancel(ctx)
	if err := ctx.Err(); err != nil {
		return err
	}
	if !w.dialect.prepared {
		if w.conn, err = w.db.Conn(ctx); err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		defer func() {
			err = errors.Join(err, w.letGo())
			w.broken = false
		}()
	}
	if _, err := w.exec(bg, &w.begin); err != nil {
		w.broken = !errors.Is(w.dialect.classify(err), ErrBusy)
		return fmt.Errorf("begin: %w", err)
	}
	if err = f(ctx, bg); err == nil {
		if _, err = w.exec(bg, &w.commit); err == nil {
			return nil
		}
		err = fmt.Errorf("commit: %w", err)
	}
	if _, e := w.exec(bg, &w.rollback); e != nil {
		// SQLite rolls some failures back by itself, a full disk for one, and
		// then refuses to do it again. The driver does not say which is the
		// case, and a new connection costs less than an hour of wrong guesses.
		w.broken = true
	}
	return err
}

// insert stores what take has taken.
func (w *writer) insert(ctx, bg context.Context) error {
	if err := w.claimSends(ctx, bg); err != nil {
		return err
	}
	return w.insertMessages(ctx, bg)
}

// take puts the batch in the order of the primary key: neighbours share pages,
// and where several writers lock rows, all lock them in one order.
func (w *writer) take(batch []*schema.Message) error {
	for _, m := range batch {
		if w.maxSize > 0 && m.Size() > w.maxSize {
			return fmt.Errorf("%w: the message at %d in room %q has %d bytes", ErrData, m.Offset, m.Room, m.Size())
		}
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
	return nil
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
	for chunk := range slices.Chunk(w.keyed, w.sends.page) {
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
			if err := w.queryRow(bg, &w.findSend, r.Room, w.bytes(r.User), w.bytes(r.Key)).Scan(&first); err != nil {
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
	for len(chunk) > 0 {
		width := w.width(&w.sends, len(chunk))
		args := w.sends.args[:0]
		for _, i := range chunk[:width] {
			r := &w.rows[i]
			args = append(args, r.Room, w.bytes(r.User), w.bytes(r.Key), int64(r.Offset))
		}
		n, err := w.add(bg, &w.sends, width, args)
		if err != nil {
			return 0, err
		}
		added += n
		chunk = chunk[width:]
	}
	return added, nil
}

// insertMessages inserts all rows, a page at a time.
func (w *writer) insertMessages(ctx, bg context.Context) error {
	for rest := w.rows; len(rest) > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		width := w.fitting(rest[:w.width(&w.messages, len(rest))])
		args := w.messages.args[:0]
		for i := range rest[:width] {
			r := &rest[i]
			args = append(args, r.Room, int64(r.Offset), int64(r.Prev), w.bytes(r.User), w.bytes(r.Client),
				notNull(r.Info), w.bytes(r.Key), r.dupOf, notNull(r.Data))
		}
		if _, err := w.add(bg, &w.messages, width, args); err != nil {
			return fmt.Errorf("insert from room %q offset %d: %w", rest[0].Room, rest[0].Offset, err)
		}
		rest = rest[width:]
	}
	return nil
}

// width returns how many of the rows the next INSERT takes: a prepared one has
// one row or a page of them.
func (w *writer) width(i *inserter, rows int) int {
	if rows < i.page && w.dialect.prepared {
		return 1
	}
	return min(rows, i.page)
}

// fitting returns how many of the rows stay below maxBytes, at least one.
func (w *writer) fitting(rows []row) int {
	if w.dialect.maxBytes == 0 {
		return len(rows)
	}
	bytes := 0
	for i := range rows {
		if bytes += rows[i].Size(); bytes > w.dialect.maxBytes && i > 0 {
			return i
		}
	}
	return len(rows)
}

// add inserts rows, and returns how many the database counts.
func (w *writer) add(ctx context.Context, i *inserter, rows int, args []any) (int64, error) {
	s := &statement{}
	switch rows {
	case 1:
		s = &i.one
	case i.page:
		s = &i.many
	default:
		s.text = i.text(rows)
	}
	result, err := w.exec(ctx, s, args...)
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

// bytes gives a column of any bytes its value: what is text as text, which
// costs no copy, and what is not in a form that is not checked for being it.
func (w *writer) bytes(s string) any {
	if w.dialect.prepared || utf8.ValidString(s) {
		return s
	}
	return []byte(s)
}
