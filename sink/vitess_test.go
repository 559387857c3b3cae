package sink

import (
	"reflect"
	"strings"
	"testing"

	"github.com/hubbub-chat/hubbub/internal/backends"
)

// plan is how vtgate would run a statement, as JSON.
func plan(t *testing.T, m *MySQL, statement string) (text string) {
	t.Helper()
	statement = strings.ReplaceAll(statement, "LIMIT ?", "LIMIT 5")
	if err := m.reads.QueryRow("VEXPLAIN PLAN " + strings.ReplaceAll(statement, "?", "'7'")).Scan(&text); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return text
}

// In a sharded keyspace vtgate sends each statement of docs/sql.md to the one
// shard of what it names, or each row of an INSERT to the row's shard.
func TestVitessPlans(t *testing.T) {
	m := openMySQLAt(t, backends.Sharded(t).DSN)
	if !m.Sharded() {
		t.Error("two shards are taken for one")
	}
	if p := plan(t, m, `SELECT room FROM messages WHERE seq = ?`); !strings.Contains(p, "Scatter") {
		t.Fatalf("a plan that asks all shards does not say so: %s", p)
	}
	for _, s := range statements(reflect.ValueOf(mysqlDialect)) {
		if s.name == "begin" || s.name == "commit" || s.name == "rollback" {
			continue
		}
		want := `"EqualUnique"`
		if strings.HasPrefix(s.text, "INSERT") {
			want = `"Sharded"`
		}
		if p := plan(t, m, s.text); strings.Contains(p, "Scatter") || strings.Count(p, `"Variant": `+want) != 1 {
			t.Errorf("%s is not for one shard: %s", s.name, p)
		}
	}
}

// An unsharded keyspace is like any MySQL: it is migrated once, and rows and
// positions are stored together.
func TestVitessUnsharded(t *testing.T) {
	server := backends.Unsharded(t)
	for i, want := range []int64{0, newestTables, newestTables} {
		if from, to, err := MigrateMySQL(t.Context(), MySQLConfig{DSN: server.DSN}); err != nil || from != want || to != newestTables {
			t.Fatalf("run %d: from %d to %d, %v", i, from, to, err)
		}
	}
	m := openMySQLAt(t, server.DSN)
	if m.Sharded() {
		t.Error("one shard is taken for several")
	}
	testCommit(t, m)
}
