package backends

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// Either process of a Vitess goes and comes back, at once or not, while the
// other stays: the shards and what they hold are found again.
func TestVitess(t *testing.T) {
	s := OwnVitess(t)
	client := Program(t, "mariadb", "mysql")
	prefix := strings.TrimSuffix(s.DSN, "hubbub")
	const rows = "USE hubbub; SELECT name, `value` FROM meta WHERE name IN ('a', 'b', 'c', 'd') ORDER BY name; " +
		"USE " + whole + "; SELECT a FROM t; USE `hubbub/-80`; SELECT COUNT(*) FROM meta; USE `hubbub/80-`; SELECT COUNT(*) FROM meta"
	execSQL(t, prefix, "USE hubbub; CREATE TABLE meta (name VARCHAR(10) PRIMARY KEY, `value` INT); "+
		"INSERT INTO meta (name, `value`) VALUES ('a', 1), ('b', 2), ('c', 3), ('d', 4)")
	execSQL(t, prefix, "USE "+whole+"; CREATE TABLE t (a INT PRIMARY KEY); INSERT INTO t (a) VALUES (7)")
	for _, c := range []struct {
		what string
		run  func()
	}{
		{"kill -9 of vtcombo", func() { s.Kill9(); s.Start() }},
		{"kill -9 of MySQL", func() { s.Beneath.Kill9(); s.Beneath.Start() }},
		{"kill -9 of both", func() { s.Beneath.Kill9(); s.Kill9(); s.Beneath.Start(); s.Start() }},
		{"restart of vtcombo", s.Restart},
		{"restart of MySQL", s.Beneath.Restart},
		{"a pause of vtcombo", func() { s.Pause(); s.Continue() }},
	} {
		began := time.Now()
		c.run()
		took := time.Since(began)
		waitFor(t, "after "+c.what+" the rows are there", func() error {
			out, err := s.ask(client, rows)
			if err != nil {
				return errors.New(out)
			}
			switch strings.TrimPrefix(out, "a\t1\nb\t2\nc\t3\nd\t4\n7\n") {
			case "1\n3\n", "2\n2\n", "3\n1\n": // in both shards
			default:
				t.Fatalf("after %s the rows are %q", c.what, out)
			}
			return nil
		})
		t.Logf("%s: it answered after %v, and rightly after %v", c.what, took, time.Since(began))
	}
}
