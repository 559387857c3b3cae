package sink

import (
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/hubbub-chat/hubbub/schema"
)

var update = flag.Bool("update", false, "write docs/sql.md anew")

// said is one statement of a dialect.
type said struct{ name, text string }

// The vschema divides each table by the first column of its shard key.
func TestVSchema(t *testing.T) {
	var vschema struct {
		Sharded bool
		Tables  map[string]struct {
			Vindexes []struct{ Column, Name string } `json:"column_vindexes"`
		}
	}
	if err := json.Unmarshal([]byte(schema.VSchema), &vschema); err != nil || !vschema.Sharded {
		t.Fatalf("sharded %v, %v", vschema.Sharded, err)
	}
	for table, shard := range shards {
		column, _, _ := strings.Cut(shard.key, ",")
		if v := vschema.Tables[table].Vindexes; len(v) != 1 || v[0].Column != column {
			t.Errorf("%s is divided by %v, want %s", table, v, column)
		}
	}
	if _, ok := vschema.Tables[versionTable]; !ok || len(vschema.Tables) != len(shards)+1 {
		t.Errorf("the vschema has %d tables, want %d and %s", len(vschema.Tables), len(shards), versionTable)
	}
}

// statements are all that a dialect can say, found by reflection so that none
// is forgotten. An INSERT of many rows is shown with one.
func statements(v reflect.Value) (list []said) {
	for i := range v.NumField() {
		name, field := v.Type().Field(i).Name, v.Field(i)
		switch {
		case field.Type() == reflect.TypeFor[multiRow]():
			m := multiRow{insert: field.Field(0).String(), row: field.Field(1).String(), onConflict: field.Field(2).String()}
			list = append(list, said{name, m.text(1)})
		case field.Kind() == reflect.String:
			list = append(list, said{name, field.String()})
		case field.Kind() == reflect.Struct:
			list = append(list, statements(field)...)
		}
	}
	for i := range list {
		list[i].text = strings.Join(strings.Fields(list[i].text), " ")
	}
	return list
}

// shards is how a statement finds its shard: what a table is divided by, and
// what a statement on it must therefore name.
var shards = map[string]struct{ key, insert, where string }{
	"messages":  {"room", "(room, ", "WHERE room = ?"},
	"sends":     {"room", "(room, ", "WHERE room = ?"},
	"positions": {"topic, part", "(topic, part, ", "WHERE topic = ? AND part = ?"},
	"repairs":   {"topic, part", "(topic, part, ", "WHERE topic = ? AND part = ?"},
	"meta":      {"name", "(name, ", "WHERE name = "},
	"blocked":   {"list", "(list, ", "WHERE list = 'users'"},
}

var (
	insertInto = regexp.MustCompile(`^INSERT INTO (\w+) (.*)`)
	readsFrom  = regexp.MustCompile(`(?:FROM|UPDATE) (\w+)\b`)
)

// shardOf returns the table that a statement is on, and its shard key, once
// the statement names that.
func shardOf(t *testing.T, s said) (table, key string) {
	t.Helper()
	if m := insertInto.FindStringSubmatch(s.text); m != nil {
		shard, ok := shards[m[1]]
		if !ok || !strings.HasPrefix(m[2], shard.insert) {
			t.Errorf("%s does not begin with its table's shard key: %s", s.name, s.text)
		}
		return m[1], shard.key
	}
	tables := readsFrom.FindAllStringSubmatch(s.text, -1)
	if len(tables) != 1 {
		t.Fatalf("%s is on %d tables: %s", s.name, len(tables), s.text)
	}
	shard, ok := shards[tables[0][1]]
	if !ok || strings.Count(s.text, shard.where) != 1 {
		t.Errorf("%s does not name its table's shard key: %s", s.name, s.text)
	}
	return tables[0][1], shard.key
}

// Every statement goes to one shard, or inserts rows each of which does; and
// docs/sql.md has them all.
func TestStatements(t *testing.T) {
	var doc strings.Builder
	doc.WriteString(sqlPreface)
	all := statements(reflect.ValueOf(mysqlDialect))
	if len(all) < 20 {
		t.Fatalf("only %d statements were found", len(all))
	}
	for _, s := range all {
		table, key := "", "none: it is about the connection"
		if s.name != "begin" && s.name != "commit" && s.name != "rollback" {
			table, key = shardOf(t, s)
			key = "`" + key + "`, table `" + table + "`"
		}
		for _, forbidden := range []string{"INSERT IGNORE", "RETURNING", "REPLACE ", " AS new", " JOIN ", "OFFSET", "AUTO_INCREMENT"} {
			if strings.Contains(s.text, forbidden) {
				t.Errorf("%s says %s", s.name, forbidden)
			}
		}
		fmt.Fprintf(&doc, "\n## %s\n\nShard key: %s\n\n```sql\n%s\n```\n", s.name, key, s.text)
	}
	const file = "../docs/sql.md"
	if *update {
		if err := os.WriteFile(file, []byte(doc.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(written) != doc.String() {
		t.Errorf("%s is not what the statements are: go test ./sink -run TestStatements -update", file)
	}
}

const sqlPreface = `# Every statement that goes to MySQL

A keyspace can be sharded by room: each statement on messages names one room, or
inserts rows each of which does, so none has to ask all shards. The two tables of
the log's writer are divided by the log's partition, and ` + "`meta`" + ` and ` + "`blocked`" + ` have a few rows each. An
INSERT of many rows is shown with one. Beside these, goose says its own when
the tables are migrated, a starting process asks for ` + "`@@max_allowed_packet`" + `, the
session's variables and the tables' version, and a new connection SETs those variables (docs/mysql.md).

A test writes this file from the code and checks the keys
(` + "`go test ./sink -run TestStatements -update`" + `); another one asks vtgate for the plan of
each, and none asks all shards (` + "`HUBBUB_TEST_DB=vitess`" + `).
`

// The tables keep what sharding asks for: no foreign key, no number that the
// database gives, no key beside the primary one, and that begins with the
// shard key.
func TestTablesShard(t *testing.T) {
	primary := regexp.MustCompile(`(?s)CREATE TABLE IF NOT EXISTS (\w+) \((.*?)\n\)`)
	found := 0
	err := fs.WalkDir(schema.MySQLMigrations(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(schema.MySQLMigrations(), path)
		if err != nil {
			return err
		}
		text := regexp.MustCompile(`--.*`).ReplaceAllString(string(b), "")
		for _, forbidden := range []string{"FOREIGN", "REFERENCES", "AUTO_INCREMENT", "UNIQUE", "INDEX", "FULLTEXT", "TRIGGER"} {
			if strings.Contains(strings.ToUpper(text), forbidden) {
				t.Errorf("%s says %s", path, forbidden)
			}
		}
		for _, m := range primary.FindAllStringSubmatch(text, -1) {
			found++
			table, columns := m[1], m[2]
			if strings.Count(columns, "KEY") != 1 {
				t.Errorf("%s has more keys than one", table)
			}
			key := "PRIMARY KEY (" + shards[table].key
			if table == "meta" {
				key = "name  VARCHAR(255) NOT NULL PRIMARY KEY"
			}
			if shards[table].key == "" || !strings.Contains(columns, key) {
				t.Errorf("the key of %s does not begin with %q", table, shards[table].key)
			}
		}
		return nil
	})
	if err != nil || found != len(shards) {
		t.Errorf("%d tables were found, want %d; %v", found, len(shards), err)
	}
}
