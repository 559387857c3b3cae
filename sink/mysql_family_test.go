package sink

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/internal/contact"
	"github.com/hubbub-chat/hubbub/schema"
)

// What MySQL, MariaDB and their settings have of their own, and what makes no
// difference: docs/mysql.md has a line for each test here.

// isMariaDB reports whether a server of a test's own is MariaDB.
func isMariaDB(t *testing.T, server *backends.MySQLServer) bool {
	t.Helper()
	return strings.Contains(ask(t, server, `SELECT @@version`), "MariaDB")
}

// ask returns the last column of a query's only row.
func ask(t *testing.T, server *backends.MySQLServer, query string) (answer string) {
	t.Helper()
	db, err := sql.Open("mysql", server.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	if rows.Next() {
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		into := make([]any, len(columns))
		for i := range into {
			into[i] = new(sql.RawBytes)
		}
		into[len(into)-1] = &answer
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return answer
}

// odd are values that a text of SQL has to quote, in one way or in another.
var odd = []string{
	`\`, `\\`, `'`, `''`, `\'`, `"`, `\"`, "`", `a\`, `\n`, "a\x00b", "\x1a", "\r\n", `%\_`, `' OR '1'='1`, `'; -- `, `\' || 'x`, `/*`, `?`, `:v1`, "Zoë 🎈", "\xff\xfe",
}

// keepsOdd stores odd values in every column and wants them back as they were.
func keepsOdd(t *testing.T, m *MySQL, room string) {
	t.Helper()
	var all, single []*schema.Message
	for i, v := range odd {
		all = append(all, &schema.Message{Room: room, Offset: uint64(i + 1), Prev: uint64(i), User: v, Client: v, Info: []byte(v), Key: v, Data: []byte(v)})
		if name := room + v + "x"; schema.CheckChannel(name) == nil {
			single = append(single, &schema.Message{Room: name, Offset: 1, Data: []byte(v)})
		}
	}
	mustAppend(t, m.Store, append(single, all...)...)
	mustAppend(t, m.Store, all[3]) // again: found by its key
	for _, want := range single {
		page, err := m.After(t.Context(), want.Room, 0, 0, 10, 1<<20)
		if diff := cmp.Diff([]*schema.Message{want}, page); err != nil || diff != "" {
			t.Errorf("room %q: %v %s", want.Room, err, diff)
		}
	}
	page, err := m.After(t.Context(), room, 0, 0, 100, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all, page); diff != "" {
		t.Error(diff)
	}
	for _, v := range odd {
		if err := m.Block(t.Context(), v, 0); err != nil {
			t.Fatal(err)
		}
	}
	blocked, err := m.Blocked(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range odd {
		if _, ok := blocked[v]; !ok {
			t.Errorf("user %q is not blocked", v)
		}
	}
}

// In whatever SQL mode a server is, or a DSN asks for, a value comes back as it
// was and a name stays a name.
func TestMySQLModes(t *testing.T) {
	server := backends.OwnMySQL(t)
	modes := []string{
		"", "ANSI_QUOTES", "PIPES_AS_CONCAT", "NO_BACKSLASH_ESCAPES", "ONLY_FULL_GROUP_BY", "ANSI", "TRADITIONAL",
		"PAD_CHAR_TO_FULL_LENGTH,HIGH_NOT_PRECEDENCE,IGNORE_SPACE,NO_UNSIGNED_SUBTRACTION,REAL_AS_FLOAT",
	}
	if isMariaDB(t, server) {
		modes = append(modes, "ORACLE", "MSSQL", "EMPTY_STRING_IS_NULL", "SIMULTANEOUS_ASSIGNMENT")
	}
	for i, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			name := fmt.Sprint("d", i)
			admin(t, server, `CREATE DATABASE `+name, `SET GLOBAL sql_mode = '`+mode+`'`)
			dsn := strings.TrimSuffix(server.DSN, "hubbub") + name
			keepsOdd(t, openMySQLAt(t, dsn), "server")
			admin(t, server, `SET GLOBAL sql_mode = ''`)
			keepsOdd(t, openMySQLAt(t, dsn+"?sql_mode="+url.QueryEscape("'"+mode+"'")), "session")
		})
	}
}

// Times are numbers: neither the zone of the server nor that of a session, nor
// what the driver makes of one, changes what is read.
func TestMySQLTimeZones(t *testing.T) {
	server := backends.OwnMySQL(t)
	until := time.Now().Add(time.Hour).Unix()
	p := Partition{Topic: "t"}
	m := openMySQLAt(t, server.DSN)
	if _, _, err := m.Position(t.Context(), p); err != nil { // which begins it
		t.Fatal(err)
	}
	if err := m.Block(t.Context(), "u", until); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Commit(t.Context(), &Commit{Moves: []Move{{Partition: p, From: 0, To: 5}}, Messages: chain("r", 2)}); err != nil {
		t.Fatal(err)
	}
	_, moved, err := m.Position(t.Context(), p)
	if err != nil || time.Since(moved).Abs() > 10*time.Minute {
		t.Fatalf("moved at %v, %v", moved, err)
	}
	for _, c := range []struct{ global, parameters string }{
		{"+00:00", ""}, {"+13:00", ""}, {"-11:00", "?time_zone=%27%2B09%3A00%27"},
		{"+05:30", "?parseTime=true&loc=America%2FNew_York&time_zone=%27-03%3A00%27"},
	} {
		t.Run(c.global+c.parameters, func(t *testing.T) {
			admin(t, server, `SET GLOBAL time_zone = '`+c.global+`'`)
			m := openMySQLAt(t, server.DSN+c.parameters)
			blocked, err := m.Blocked(t.Context())
			if want := map[string]int64{"u": until}; err != nil || !maps.Equal(blocked, want) {
				t.Errorf("blocked %v, %v, want %v", blocked, err, want)
			}
			if pos, at, err := m.Position(t.Context(), p); err != nil || pos != 5 || !at.Equal(moved) {
				t.Errorf("position %d moved at %v, %v, want 5 at %v", pos, at, err, moved)
			}
			if _, _, err := MigrateMySQL(t.Context(), MySQLConfig{DSN: server.DSN + c.parameters}); err != nil { // goose has a column with a time
				t.Error(err)
			}
		})
	}
}

// A server whose character set is another: the tables have their own.
func TestMySQLLatin1(t *testing.T) {
	server := backends.OwnMySQL(t, "--character-set-server=latin1", "--collation-server=latin1_swedish_ci")
	admin(t, server, `CREATE DATABASE old CHARACTER SET latin1 COLLATE latin1_swedish_ci`)
	m := openMySQLAt(t, strings.TrimSuffix(server.DSN, "hubbub")+"old")
	keepsOdd(t, m, "r")
	for _, room := range []string{"Straße", "Strasse", "STRASSE", "e", "é", "日本語", "🎈", "🎉"} { // each of them another
		mustAppend(t, m.Store, &schema.Message{Room: room, Offset: 1, Data: []byte(room)})
		if page, err := m.After(t.Context(), room, 0, 0, 10, 1<<20); err != nil || len(page) != 1 || string(page[0].Data) != room {
			t.Errorf("room %s: %v, %v", room, page, err)
		}
	}
}

// Table names are in lower case throughout, so a server may fold them.
func TestMySQLLowerCaseTableNames(t *testing.T) {
	server := backends.OwnMySQL(t)
	if !isMariaDB(t, server) {
		t.Skip("MySQL settles this when its data directory is made")
	}
	server = backends.OwnMySQL(t, "--lower-case-table-names=1")
	keepsOdd(t, openMySQLAt(t, server.DSN), "r")
}

// VALUES() in an upsert is deprecated: MySQL warns, in answer to SHOW WARNINGS
// alone. Neither server writes a line about anything that Hubbub says.
func TestMySQLDeprecations(t *testing.T) {
	server := backends.OwnMySQL(t)
	m := openMySQLAt(t, server.DSN)
	before := server.Log()
	work := func() {
		keepsOdd(t, m, "r")
		for range 2 {
			if _, err := m.Commit(t.Context(), &Commit{
				Messages: chain("q", 40), Owed: []Repair{{Link: Link{Partition{Topic: "t"}, "q", 0}, Epoch: "e"}},
				Links: []Link{{Partition{Topic: "t"}, "q", 10}},
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	work()
	if said := strings.TrimPrefix(server.Log(), before); said != "" {
		t.Errorf("the server's log has:\n%s", said)
	}
	conn, err := m.writes.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), m.dialect.claimSends.insert+m.dialect.claimSends.row+m.dialect.claimSends.onConflict, "r", "u", "k", 1); err != nil {
		t.Fatal(err)
	}
	defer conn.ExecContext(context.WithoutCancel(t.Context()), `DELETE FROM sends WHERE room = 'r' AND sender = 'u' AND send_key = 'k'`) //nolint:errcheck // no message has it
	rows, err := conn.QueryContext(t.Context(), `SHOW WARNINGS`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var codes []int
	for rows.Next() {
		var code int
		if err := rows.Scan(new(string), &code, new(string)); err != nil {
			t.Fatal(err)
		}
		codes = append(codes, code)
	}
	want := []int{1287}
	if isMariaDB(t, server) {
		want = nil
	}
	if !slices.Equal(codes, want) {
		t.Errorf("warnings %v, want %v", codes, want)
	}
}

// caching_sha2_password is how MySQL's users log in. Without TLS the driver
// asks for the server's RSA key when the server does not remember the user, as
// after a restart; with TLS it needs none.
func TestMySQLCachingSHA2(t *testing.T) {
	dir := t.TempDir()
	roots := writeCertificate(t, dir)
	server := backends.OwnMySQL(t, "--ssl-cert="+dir+"/cert.pem", "--ssl-key="+dir+"/key.pem")
	if isMariaDB(t, server) {
		t.Skip("MariaDB 10.11 does not know this way to log in")
	}
	admin(t, server, `CREATE USER 'sha2'@'%' IDENTIFIED WITH caching_sha2_password BY 'pässwörd \''`, `GRANT ALL ON hubbub.* TO 'sha2'@'%'`)
	cfg := MySQLConfig{DSN: "sha2:pässwörd '@tcp(" + server.Addr + ")/hubbub"}
	for _, c := range []struct {
		name  string
		cfg   MySQLConfig
		plain bool
	}{
		{"without TLS", cfg, true},
		{"with TLS", MySQLConfig{DSN: cfg.DSN, RootCAs: roots}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			admin(t, server, `FLUSH PRIVILEGES`) // the server remembers nobody
			m, err := OpenMySQL(t.Context(), c.cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			var cipher string
			if err := m.reads.QueryRow(`SHOW STATUS LIKE 'Ssl_cipher'`).Scan(new(string), &cipher); err != nil || (cipher == "") != c.plain {
				t.Errorf("cipher %q, %v", cipher, err)
			}
			mustAppend(t, m.Store, chain(c.name, 2)...)
			server.Restart()
			eventually(t, "it is stored after a restart", func() bool {
				err := m.Append(t.Context(), chain(c.name, 4))
				if err != nil && !errors.Is(err, ErrUnavailable) {
					t.Fatal(err)
				}
				return err == nil
			})
			if last, err := m.Last(t.Context(), c.name); err != nil || last != 40 {
				t.Errorf("Last = %d, %v", last, err)
			}
		})
	}
	t.Run("TLS is demanded", func(t *testing.T) {
		admin(t, server, `SET GLOBAL require_secure_transport = 1`)
		if _, err := OpenMySQL(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "add tls=true to the DSN") || strings.Contains(err.Error(), "pässwörd") {
			t.Errorf("open: %v", err)
		}
	})
}

// A small max_allowed_packet bounds a message, not a batch.
func TestMySQLSmallPacket(t *testing.T) {
	server := backends.OwnMySQL(t, "--max-allowed-packet=1M")
	m := openMySQLAt(t, server.DSN)
	if size := m.MaxSize(); size != 1<<20-64<<10 {
		t.Errorf("MaxSize is %d", size)
	}
	var batch []*schema.Message
	for i := range 500 { // 5 MB of what has to be quoted
		batch = append(batch, &schema.Message{Room: "r", Offset: uint64(i + 1), Prev: uint64(i), Key: fmt.Sprint(i), Data: []byte(strings.Repeat(`\'`, 5000))})
	}
	batch = append(batch, &schema.Message{Room: "large", Offset: 1, Data: []byte(strings.Repeat(`'`, m.MaxSize()-100))})
	mustAppend(t, m.Store, batch...)
	page, err := m.After(t.Context(), "r", 0, 0, 1000, 1<<30)
	if err != nil || len(page) != 500 {
		t.Fatalf("%d messages, %v", len(page), err)
	}
	if diff := cmp.Diff(batch[499], page[499]); diff != "" {
		t.Error(diff)
	}
	if page, err := m.After(t.Context(), "large", 0, 0, 10, 1); err != nil || len(page) != 1 || len(page[0].Data) != m.MaxSize()-100 {
		t.Errorf("the large one: %d, %v", len(page), err)
	}
	larger := &schema.Message{Room: "larger", Offset: 1, Data: make([]byte, m.MaxSize())}
	if err := m.Append(t.Context(), []*schema.Message{larger}); !errors.Is(err, ErrData) {
		t.Errorf("append: %v, want ErrData", err)
	}
	admin(t, server, `SET GLOBAL max_allowed_packet = 65536`)
	if _, err := OpenMySQL(t.Context(), MySQLConfig{DSN: server.DSN}); err == nil || !strings.Contains(err.Error(), "max_allowed_packet is 65536") {
		t.Errorf("open: %v", err)
	}
}

// read_only of MySQL and MariaDB lets those through who may change it;
// super_read_only, which a fail-over of MySQL sets, refuses them as well.
func TestMySQLSuperReadOnly(t *testing.T) {
	server := backends.OwnMySQL(t)
	if isMariaDB(t, server) {
		t.Skip("MariaDB has read_only alone")
	}
	m := openMySQLAt(t, server.DSN)
	admin(t, server, `SET GLOBAL read_only = 1`)
	mustAppend(t, m.Store, chain("r", 1)...)
	admin(t, server, `SET GLOBAL super_read_only = 1`)
	if err := m.Append(t.Context(), chain("r", 2)); !errors.Is(err, ErrRefused) {
		t.Errorf("append: %v, want ErrRefused", err)
	}
	if _, err := OpenMySQL(t.Context(), MySQLConfig{DSN: server.DSN}); err == nil || !strings.Contains(err.Error(), "this server only reads") {
		t.Errorf("open: %v", err)
	}
	admin(t, server, `SET GLOBAL super_read_only = 0`)
	eventually(t, "it answers", func() bool { return m.Contact().State() == contact.Answers })
	mustAppend(t, m.Store, chain("r", 2)...)
}
