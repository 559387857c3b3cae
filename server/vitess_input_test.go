package main

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/schema"
)

// execOn runs statements on a server.
func execOn(t *testing.T, dsn string, statements ...string) {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
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

// What can be wrong with a keyspace is said in one line by every command, and a
// database like PlanetScale's with safe migrations works by the way that the
// documentation has: tables come from elsewhere, and `hubbub migrate` sees them.
func TestVitessRefusals(t *testing.T) {
	server := backends.OwnVitess(t, "--enable-direct-ddl=false", "--transaction-mode=SINGLE", "--vschema-ddl-authorized-users=%")
	prefix := strings.TrimSuffix(server.DSN, "hubbub")
	refused := func(t *testing.T, keyspace string, want ...string) {
		t.Helper()
		for name, args := range commandsOn(t, prefix+keyspace) {
			line := refusal(t, args)
			t.Logf("%s: %s", name, line)
			for _, w := range want {
				if !strings.HasPrefix(line, "hubbub: --mysql: database "+strings.ReplaceAll(keyspace, "%2F", "/")+" at "+server.Addr+": ") || !strings.Contains(line, w) {
					t.Errorf("%s says %s, want %s", name, line, w)
				}
			}
		}
	}
	t.Run("a replica", func(t *testing.T) { refused(t, "hubbub@replica", "a replica only reads", "name the keyspace alone") })
	t.Run("one shard", func(t *testing.T) {
		refused(t, "hubbub:-80@primary", "hubbub:-80 is a shard", "name the keyspace alone")
	})
	t.Run("one shard, with a slash", func(t *testing.T) { refused(t, "hubbub%2F-80", "hubbub/-80 is a shard") })
	t.Run("no such keyspace", func(t *testing.T) { refused(t, "hubub", "hubub") })
	t.Run("no direct DDL", func(t *testing.T) {
		for _, keyspace := range []string{"whole", "hubbub"} {
			refused(t, keyspace, "direct DDL is disabled", "the tables come by a deploy request here")
		}
	})
	t.Run("tables by a deploy request", func(t *testing.T) {
		account, _, _ := strings.Cut(server.DSN, "@")
		for _, database := range []string{"vt_whole_0", "vt_hubbub_-80", "vt_hubbub_80-"} {
			beneath := fmt.Sprintf("%s@tcp(%s)/%s", account, server.Beneath.Addr, database)
			if out, err := childCommand(t.Context(), "migrate", "--mysql="+beneath).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			execOn(t, beneath, `DELETE FROM goose_db_version`)
		}
		server.Restart() // which has it look at the tables
		for _, dsn := range []string{server.DSN, server.Whole} {
			for _, name := range []string{"serve", "sink"} {
				if line := refusal(t, commandsOn(t, dsn)[name]); !strings.Contains(line, "run `hubbub migrate`") {
					t.Errorf("%s says %s", name, line)
				}
			}
			for range 2 {
				if out, err := childCommand(t.Context(), "migrate", "--mysql="+dsn).CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "The tables are up to date: version ") {
					t.Fatalf("migrate: %v: %s", err, out)
				}
			}
			node := startChild(t, t.TempDir(), "--mysql="+dsn)
			l := newLedger()
			c := dialTo(t, l, node.addr, schema.JSON)
			c.connect()
			for i := range 8 { // in both shards, although vtgate's own transaction_mode is SINGLE
				room := fmt.Sprint("room", i)
				c.subscribe(room)
				c.publish(room, `{"text":"hi"}`)
				if r := c.ok(&command{History: &historyRequest{Channel: room, Limit: 10}}); len(r.History.Publications) != 1 {
					t.Errorf("history of %s: %v", room, r.History)
				}
			}
			c.cut()
			if code := node.stop(); code != 0 {
				t.Errorf("exit code %d", code)
			}
		}
	})
	t.Run("no vschema", func(t *testing.T) {
		execOn(t, server.DSN, `ALTER VSCHEMA DROP TABLE goose_db_version`, `ALTER VSCHEMA DROP TABLE messages`)
		refused(t, "hubbub", "hubbub migrate --vschema")
	})
}
