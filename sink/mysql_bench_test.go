package sink

import (
	"database/sql"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/schema"
)

// BenchmarkCommit is what the log's writer does, beside the bare client saying
// the same statements on one connection with arguments that are ready. The two
// take turns, and medians are compared: a disk and its neighbours have bad
// moments. With HUBBUB_TEST_DB=vitess it is a keyspace of one shard, and a bare
// client of the MySQL beneath takes turns with them.
func BenchmarkCommit(b *testing.B) {
	for _, rooms := range []int{1, 1000} {
		for _, size := range []int{500, 4096} {
			b.Run(fmt.Sprintf("rooms=%d/batch=%d", rooms, size), func(b *testing.B) { benchmarkCommit(b, rooms, size) })
		}
	}
}

func benchmarkCommit(b *testing.B, rooms, size int) {
	var m *MySQL
	var beneath *bareClient
	if os.Getenv("HUBBUB_TEST_DB") == "vitess" {
		server := backends.OwnVitess(b)
		m, beneath = openMySQLAt(b, server.Whole), newBareClient(b, openMySQLAt(b, emptyDatabase(b, server.Beneath)))
	} else { // as an operator would set it, in short
		m = openMySQLAt(b, backends.OwnMySQL(b, "--innodb-buffer-pool-size=512M", backends.RedoLog(b, 256)).DSN)
	}
	bare := newBareClient(b, m)
	src := newSource(rooms)
	p := Partition{"bench", 1}
	if _, _, err := m.Position(b.Context(), p); err != nil {
		b.Fatal(err)
	}
	batch := make([]*schema.Message, size)
	var pos int64
	var ours, its, direct []time.Duration
	commit := func() {
		start := time.Now()
		_, err := m.Commit(b.Context(), &Commit{Messages: batch, Moves: []Move{{p, pos, pos + int64(size)}}})
		if err != nil {
			b.Fatal(err)
		}
		ours = append(ours, time.Since(start))
		pos += int64(size)
	}
	for i := 0; b.Loop(); i++ {
		src.fill(batch)
		if i%2 == 0 {
			commit()
		}
		its = append(its, bare.commit(b, batch))
		if i%2 == 1 {
			commit()
		}
		if beneath != nil {
			direct = append(direct, beneath.commit(b, batch))
		}
	}
	b.ReportMetric(float64(size)/median(ours).Seconds(), "rows/s")
	b.ReportMetric(float64(size)/median(its).Seconds(), "bare-rows/s")
	b.ReportMetric(median(its).Seconds()/median(ours).Seconds(), "ratio")
	if beneath != nil {
		b.ReportMetric(median(direct).Seconds()/median(ours).Seconds(), "ratio-to-mysql")
	}
}

// emptyDatabase makes one in a server beside those that are there.
func emptyDatabase(b *testing.B, server *backends.MySQLServer) (dsn string) {
	b.Helper()
	prefix := "hubbub:hubbub@tcp(" + server.Addr + ")/"
	db, err := sql.Open("mysql", prefix)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(b.Context(), "CREATE DATABASE bare CHARACTER SET utf8mb4"); err != nil {
		b.Fatal(err)
	}
	return prefix + "bare"
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}

// bareClient says the statements of a commit by itself.
type bareClient struct {
	conn *sql.Conn
	pos  int64
	text string
}

func newBareClient(b *testing.B, m *MySQL) *bareClient {
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
			s.args = append(s.args, "bare-"+r.Room, int64(r.Offset), int64(r.Prev), r.User, r.Client, notNull(r.Info), r.Key, r.dupOf, r.Data)
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
