package sink

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/internal/contact"
	"github.com/hubbub-chat/hubbub/schema"
)

// admin runs statements on a server of the test's own.
func admin(t *testing.T, server *backends.MySQLServer, statements ...string) {
	t.Helper()
	db, err := sql.Open("mysql", server.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// A user with rights on the database alone: who may change what is read-only
// would not be refused.
var plainUser = []string{`CREATE USER 'app'@'%' IDENTIFIED BY 'app'`, `GRANT ALL ON hubbub.* TO 'app'@'%'`}

// The roles of two servers are swapped behind one address: the old one only
// reads. Whatever was connected to it, reads too, dials anew.
func TestMySQLRolesSwapped(t *testing.T) {
	a, b := backends.OwnMySQL(t), backends.OwnMySQL(t)
	proxy := backends.NewProxy(t, b.Addr)
	dsn := fmt.Sprintf("app:app@tcp(%s)/hubbub", proxy.Addr)
	admin(t, a, plainUser...)
	admin(t, b, plainUser...)
	if err := openMySQLAt(t, b.DSN).Close(); err != nil { // its tables
		t.Fatal(err)
	}
	proxy.Lead(a.Addr)
	core, logs := observer.New(zap.InfoLevel)
	m, err := OpenMySQL(t.Context(), MySQLConfig{DSN: dsn, Log: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, db := range []*sql.DB{m.reads, m.writes, m.probes} { // none moves because it is old
		db.SetConnMaxLifetime(0)
		db.SetConnMaxIdleTime(0)
	}
	d := NewDirect(m, DirectConfig{MaxAge: time.Hour})
	acked := make(chan error, 100)
	all := chain("r", 40)
	submit := func(list []*schema.Message) {
		for _, msg := range list {
			if err := d.Submit(msg, func(err error) { acked <- err }); err != nil {
				t.Fatal(err)
			}
		}
		for i := range list {
			select {
			case err := <-acked:
				if err != nil {
					t.Fatal(err)
				}
			case <-time.After(time.Minute):
				t.Fatalf("%d of %d messages are stored after a minute", i, len(list))
			}
		}
	}
	submit(all[:20])
	for range 8 { // connections of all kinds
		go m.Last(t.Context(), "r") //nolint:errcheck // it is the connection that counts
	}
	eventually(t, "several connections read", func() bool { return m.Stats().Reads.Idle > 1 && m.probes.Stats().Idle == 1 })

	proxy.Lead(b.Addr)
	admin(t, a, `SET GLOBAL read_only = 1`)
	eventually(t, "it is noticed without a message", func() bool { return logs.FilterMessage("back end refuses writes").Len() == 1 })
	start := time.Now()
	submit(all[20:])
	t.Logf("moved within %v", time.Since(start).Round(time.Millisecond))
	for range 8 {
		if last, err := m.Last(t.Context(), "r"); err != nil || last != all[39].Offset {
			t.Errorf("a read sees %d as the last, want %d, which the new server has: %v", last, all[39].Offset, err)
		}
	}
	eventually(t, "it answers again", func() bool {
		return m.Contact().State() == contact.Answers && logs.FilterMessage("back end answers again").Len() == 1
	})
	if n := logs.Len(); n != 2 {
		t.Errorf("%d lines: %v", n, logs.All())
	}
	mustClose(t, d)
}

// A right on the database that is taken away and given back. A session keeps those
// that it began with, so one that was refused is not asked again.
func TestMySQLRightsGivenBack(t *testing.T) {
	server := backends.OwnMySQL(t)
	admin(t, server, plainUser...)
	m := openMySQLAt(t, fmt.Sprintf("app:app@tcp(%s)/hubbub", server.Addr))
	for _, db := range []*sql.DB{m.reads, m.writes, m.probes} { // none is left because it is old
		db.SetConnMaxLifetime(0)
		db.SetConnMaxIdleTime(0)
	}
	mustAppend(t, m.Store, chain("r", 1)...)
	admin(t, server, `REVOKE INSERT ON hubbub.* FROM 'app'@'%'`)
	m.roles.changes.Add(1) // as after a while, when all connections are new
	refused := func() bool { return errors.Is(m.Append(t.Context(), chain("r", 2)), ErrRefused) }
	eventually(t, "it refuses", refused)
	if is := m.Contact().Status(); is.State != contact.Refuses || !strings.Contains(is.Err.Error(), "INSERT command denied") {
		t.Errorf("%+v", is)
	}
	if n, err := m.Count(t.Context(), "r", 0, 1<<60, 100); err != nil || n != 1 {
		t.Errorf("%d messages, %v: reads go on", n, err)
	}
	admin(t, server, `GRANT INSERT ON hubbub.* TO 'app'@'%'`)
	eventually(t, "it is stored", func() bool { return m.Append(t.Context(), chain("r", 2)) == nil })
	if is := m.Contact().State(); is != contact.Answers {
		t.Errorf("state %v", is)
	}
}

// A server that only reads and stays so: refused, and not silent.
func TestMySQLReadOnly(t *testing.T) {
	server := backends.OwnMySQL(t)
	admin(t, server, plainUser...)
	m := openMySQLAt(t, fmt.Sprintf("app:app@tcp(%s)/hubbub", server.Addr))
	mustAppend(t, m.Store, chain("r", 1)...)
	admin(t, server, `SET GLOBAL read_only = 1`)
	for range 3 {
		if err := m.Append(t.Context(), chain("r", 2)); !errors.Is(err, ErrUnavailable) || !errors.Is(err, ErrRefused) {
			t.Errorf("append: %v", err)
		}
	}
	if n, err := m.Count(t.Context(), "r", 0, 1<<60, 100); err != nil || n != 1 {
		t.Errorf("%d messages, %v", n, err)
	}
	is := m.Contact().Status()
	if is.State != contact.Refuses || !strings.Contains(is.Err.Error(), "1290") {
		t.Errorf("%+v", is)
	}
	log := NewDirectLog(m, DirectLogConfig{BudgetConfig: BudgetConfig{Contact: m.Contact()}})
	if err := log.Reserve(chain("r", 2)[1]); !errors.Is(err, ErrStalled) {
		t.Errorf("reserve: %v: a message would be seen and not be kept", err)
	}
	if err := log.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "mysql refuses writes") {
		t.Errorf("ready: %v", err)
	}
	if s := log.Stats(); s.Stalled != 1 || s.Refused != 0 {
		t.Errorf("%+v", s.BudgetStats)
	}
	admin(t, server, `SET GLOBAL read_only = 0`)
	eventually(t, "it answers", func() bool { return m.Contact().State() == contact.Answers })
	if err := log.Reserve(chain("r", 2)[1]); err != nil {
		t.Error(err)
	}
	mustAppend(t, m.Store, chain("r", 2)...)
	if err := log.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A server that has stopped to answer: silent, without anybody's message.
func TestMySQLSilent(t *testing.T) {
	server := backends.OwnMySQL(t)
	m := openMySQLAt(t, server.DSN)
	server.Pause()
	eventually(t, "the store says so", func() bool { return m.Contact().State() == contact.Silent })
	server.Continue()
	eventually(t, "it answers", func() bool { return m.Contact().State() == contact.Answers })
}

// Whatever the server's defaults are and the DSN says: a statement is durable
// when it is answered, a list is whole, and a session is as the tests know it.
func TestMySQLSession(t *testing.T) {
	server := backends.OwnMySQL(t)
	unusual := []string{
		`SET GLOBAL autocommit = 0`, `SET GLOBAL completion_type = 1`, `SET GLOBAL sql_mode = ''`, `SET GLOBAL sql_select_limit = 1`,
		`SET GLOBAL unique_checks = 0`, `SET GLOBAL default_storage_engine = 'MyISAM'`,
		`SET GLOBAL TRANSACTION ISOLATION LEVEL READ UNCOMMITTED`, `SET GLOBAL TRANSACTION READ ONLY`,
	}
	admin(t, server, unusual...)
	for name, parameters := range map[string]string{
		"defaults": "",
		"DSN": "?autocommit=0&completion_type=2&sql_mode=''&sql_select_limit=1&unique_checks=0&clientFoundRows=true&parseTime=true" +
			"&multiStatements=true&interpolateParams=false&rejectReadOnly=true&charset=latin1&collation=latin1_swedish_ci",
	} {
		t.Run(name, func(t *testing.T) {
			m := openMySQLAt(t, server.DSN+parameters)
			user := "user " + name
			for _, u := range []string{user, "Zoë 🎈", "another"} {
				if err := m.Block(t.Context(), u, 0); err != nil {
					t.Fatal(err)
				}
			}
			other := openMySQLAt(t, server.DSN)
			blocked, err := other.Blocked(t.Context())
			if _, ok := blocked[user]; err != nil || !ok || len(blocked) < 3 {
				t.Errorf("blocked: %v, %v", blocked, err)
			}
			if _, ok := blocked["Zoë 🎈"]; !ok {
				t.Errorf("blocked: %v", blocked)
			}
			mustAppend(t, m.Store, chain(name, 3)...)
			if n, err := other.Count(t.Context(), name, 0, 1<<60, 10); err != nil || n != 3 {
				t.Errorf("%d messages, %v", n, err)
			}
			for pool, db := range map[string]*sql.DB{"reads": m.reads, "writes": m.writes, "probes": m.probes} {
				for variable, want := range map[string]string{
					"autocommit": "ON", "completion_type": "NO_CHAIN", "unique_checks": "ON", "default_storage_engine": "InnoDB",
					"sql_select_limit": noLimit, "character_set_client": "utf8mb4",
				} {
					var got string
					if err := db.QueryRow(`SHOW VARIABLES LIKE '`+variable+`'`).Scan(new(string), &got); err != nil || got != want {
						t.Errorf("%s: %s is %s, %v", pool, variable, got, err)
					}
				}
				rows, err := db.Query(`SHOW VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation', 'tx_read_only', 'transaction_read_only')`)
				if err != nil {
					t.Fatal(err)
				}
				seen := 0
				for rows.Next() {
					var variable, got string
					if err := rows.Scan(&variable, &got); err != nil {
						t.Fatal(err)
					}
					if got != "REPEATABLE-READ" && got != "OFF" {
						t.Errorf("%s: %s is %s", pool, variable, got)
					}
					seen++
				}
				if err := rows.Close(); err != nil || seen < 2 {
					t.Errorf("%d variables of transactions, %v", seen, err)
				}
			}
			var engine string
			if err := m.reads.QueryRow(`SELECT engine FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'messages'`).Scan(&engine); err != nil || engine != "InnoDB" {
				t.Errorf("the tables are %s, %v", engine, err)
			}
		})
	}
}
