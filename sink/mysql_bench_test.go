package sink

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/schema"
)

// BenchmarkCommit is what the log's writer does, beside the bare client saying
// the same statements on one connection with arguments that are ready. The two
// take turns, so that the ratio is of one moment of the machine and the server.
func BenchmarkCommit(b *testing.B) {
	for _, rooms := range []int{1, 1000} {
		for _, size := range []int{500, 4096} {
			b.Run(fmt.Sprintf("rooms=%d/batch=%d", rooms, size), func(b *testing.B) { benchmarkCommit(b, rooms, size) })
		}
	}
}

func benchmarkCommit(b *testing.B, rooms, size int) {
	m := openMySQL(b)
	bare := newBareClient(b, backends.MySQL(b).DSN)
	src := newSource(rooms)
	p := Partition{"bench", 1}
	if _, _, err := m.Position(b.Context(), p); err != nil {
		b.Fatal(err)
	}
	batch := make([]*schema.Message, size)
	var pos int64
	var ours, its time.Duration
	for b.Loop() {
		src.fill(batch)
		start := time.Now()
		_, err := m.Commit(b.Context(), &Commit{Messages: batch, Moves: []Move{{p, pos, pos + int64(size)}}})
		if err != nil {
			b.Fatal(err)
		}
		ours += time.Since(start)
		pos += int64(size)
		its += bare.commit(b, batch)
	}
	rows := float64(pos)
	b.ReportMetric(rows/ours.Seconds(), "rows/s")
	b.ReportMetric(rows/its.Seconds(), "bare-rows/s")
	b.ReportMetric(its.Seconds()/ours.Seconds(), "ratio")
}

// bareClient says the statements of a commit by itself.
type bareClient struct {
	conn *sql.Conn
	pos  int64
	text string
}

func newBareClient(b *testing.B, dsn string) *bareClient {
	m := openMySQLAt(b, dsn)
	conn, err := m.writes.Conn(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := conn.Close(); err != nil {
			b.Error(err)
		}
	})
	if _, _, err := m.Position(b.Context(), Partition{"bare", 1}); err != nil {
		b.Fatal(err)
	}
	return &bareClient{conn: conn, text: mysqlDialect.insertMessages.text(mysqlDialect.pageRows)}
}

// commit returns how long the statements took, in the order that the store
// would give the rows.
func (c *bareClient) commit(b *testing.B, batch []*schema.Message) time.Duration {
	b.Helper()
	w := &writer{dialect: &mysqlDialect}
	if err := w.take(batch); err != nil {
		b.Fatal(err)
	}
	type statement struct {
		text string
		args []any
	}
	d := &mysqlDialect
	statements := []statement{{d.begin, nil}, {d.log.movePosition, []any{c.pos + int64(len(batch)), int64(1), "bare", 1, c.pos}}}
	for rest := w.rows; len(rest) > 0; {
		n := min(len(rest), d.pageRows)
		s := statement{text: c.text}
		if n < d.pageRows {
			s.text = d.insertMessages.text(n)
		}
		for i := range rest[:n] {
			r := &rest[i]
			s.args = append(s.args, r.Room, int64(r.Offset), int64(r.Prev), r.User, r.Client, notNull(r.Info), r.Key, r.dupOf, r.Data)
		}
		statements, rest = append(statements, s), rest[n:]
	}
	c.pos += int64(len(batch))
	statements = append(statements, statement{d.commit, nil})
	start := time.Now()
	for _, s := range statements {
		if _, err := c.conn.ExecContext(b.Context(), s.text, s.args...); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start)
}
