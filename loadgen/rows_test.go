package main

import (
	"database/sql"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql" // the driver

	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/loadgen/check"
	"github.com/hubbub-chat/hubbub/loadgen/rows"
	"github.com/hubbub-chat/hubbub/sink"
)

// TestRows: what was acknowledged is looked for in a real database, in the
// tables that the server makes.
func TestRows(t *testing.T) {
	const messages = 4500 // several pages
	dsn := backends.MySQL(t).DSN
	if _, _, err := sink.MigrateMySQL(t.Context(), sink.MySQLConfig{DSN: dsn}); err != nil {
		t.Fatal(err)
	}
	writer, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close() //nolint:errcheck // a test's
	db, err := rows.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // a test's

	f := &fleet{run: "0123abcd", payload: check.Exactly(100), rooms: check.NewRooms(2, func(i int) string { return "rows-" + strconv.Itoa(i) }, true)}
	var seen check.Reader
	f.rooms[0].Join(&seen, 0)
	var insert strings.Builder
	var args []any
	for n := range uint32(messages) {
		p := check.Payload{Publisher: 7, N: n}
		f.rooms[0].Sent(n)
		f.rooms[0].Ack(p.ID())
		f.rooms[0].Observe(&seen, check.Entry{Offset: uint64(n+1) * 1024, ID: p.ID()})
		if args = append(args, (n+1)*1024, p.Append(nil, f.run, 100)); insert.Len() > 0 {
			insert.WriteString(",")
		}
		insert.WriteString("('rows-0', ?, 0, '', '', '', '', ?)")
	}
	const into = "INSERT INTO messages (room, seq, prev, sender, client, info, send_key, body) VALUES "
	if _, err := writer.Exec(into+insert.String(), args...); err != nil {
		t.Fatal(err)
	}
	other := check.Payload{Publisher: 8, N: 1}.Append(nil, f.run, 100)
	for _, c := range []struct {
		name, spoil string
		args        []any
		want        check.Kept
	}{
		{"right", "", nil, check.Kept{Messages: messages}},
		{"one is not shown", "UPDATE messages SET dup_of = 1024 WHERE seq = 20480", nil, check.Kept{Messages: messages - 1, Missing: 1}},
		{"and the last is gone", "DELETE FROM messages WHERE seq = 4608000", nil, check.Kept{Messages: messages - 2, Missing: 2}},
		{"and one is another", "UPDATE messages SET body = ? WHERE seq = 30720", []any{other}, check.Kept{Messages: messages - 2, Missing: 2, Other: 1}},
		{"and a foreign one", into + "('rows-0', 30721, 0, '', '', '', '', '{}')", nil, check.Kept{Messages: messages - 1, Missing: 2, Other: 2}},
	} {
		if c.spoil != "" {
			if _, err := writer.Exec(c.spoil, c.args...); err != nil {
				t.Fatal(err)
			}
		}
		k := f.proof().rows(t.Context(), db, time.Millisecond)
		c.want.Rooms, c.want.Acked = 2, messages
		if got, want := k.Line(), c.want.Line(); got != want || len(k.Errors) > 0 {
			t.Errorf("%s: %s, want %s, errors %v", c.name, got, want, k.Errors)
		}
	}
}

func TestNoDatabase(t *testing.T) {
	for _, dsn := range []string{"u:sesame@tcp(127.0.0.1:1)/x", "u:sesame@127.0.0.1", "u:sesame@tcp(127.0.0.1:1)/"} {
		code, _, _, stderr := loadgen(t, t.Context(), "run", "--mysql", dsn)
		if code != exitUsage || strings.Contains(stderr, "sesame") || strings.Count(stderr, "\n") != 1 {
			t.Errorf("exit code %d, said %q", code, stderr)
		}
	}
}
