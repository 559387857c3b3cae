package sink

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hubbub-chat/hubbub/internal/backends"
)

// What is looked at, to see whether tables without a version are those of this
// program, is all that the migrations make.
func TestTableColumns(t *testing.T) {
	m := openMySQL(t)
	rows, err := m.reads.Query(`SHOW TABLES`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var tables []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		if name != versionTable {
			tables = append(tables, name)
		}
	}
	if len(tables) != len(tableColumns) {
		t.Errorf("tables %v", tables)
	}
	for _, table := range tables {
		found, err := m.reads.Query(`SELECT * FROM ` + table + ` LIMIT 0`)
		if err != nil {
			t.Fatal(err)
		}
		columns, err := found.Columns()
		if err := errors.Join(err, found.Close()); err != nil {
			t.Fatal(err)
		}
		if want := strings.Split(tableColumns[table], ", "); !slices.Equal(columns, want) {
			t.Errorf("%s has %v, and is known for %v", table, columns, want)
		}
	}
}

// Tables that came without goose's rows, as by a deploy request of PlanetScale
// or from a dump without data: nobody starts on them, and `hubbub migrate` sees
// that all is there, without a statement that would change a table.
func TestMigrateMySQLCopyWithoutData(t *testing.T) {
	server := backends.OwnMySQL(t)
	cfg := MySQLConfig{DSN: server.DSN}
	if _, _, err := MigrateMySQL(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	admin(t, server, `DELETE FROM goose_db_version`, `CREATE USER 'app'@'%' IDENTIFIED BY 'app'`,
		`GRANT SELECT, INSERT, UPDATE, DELETE ON hubbub.* TO 'app'@'%'`)
	cfg.DSN = "app:app@tcp(" + server.Addr + ")/hubbub"
	if _, err := OpenMySQL(t.Context(), cfg); !errors.Is(err, ErrOldTables) || !strings.Contains(err.Error(), "no row") {
		t.Errorf("open: %v, want ErrOldTables", err)
	}
	for range 2 {
		if from, to, err := MigrateMySQL(t.Context(), cfg); err != nil || from != to {
			t.Fatalf("migrate: from %d to %d, %v", from, to, err)
		}
	}
	mustAppend(t, openMySQLAt(t, cfg.DSN).Store, chain("r", 3)...)

	t.Run("of an older version", func(t *testing.T) {
		admin(t, server, `DELETE FROM goose_db_version`, `DROP TABLE blocked`)
		if _, _, err := MigrateMySQL(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "CREATE command denied") {
			t.Errorf("migrate without the right: %v", err)
		}
		if from, _, err := MigrateMySQL(t.Context(), MySQLConfig{DSN: server.DSN}); err != nil || from != 0 {
			t.Errorf("migrate: from %d, %v", from, err)
		}
		openMySQLAt(t, cfg.DSN)
	})
	t.Run("with the rows of the version before", func(t *testing.T) {
		admin(t, server, fmt.Sprintf(`DELETE FROM goose_db_version WHERE version_id = %d`, newestTables))
		if _, err := OpenMySQL(t.Context(), cfg); !errors.Is(err, ErrOldTables) {
			t.Errorf("open: %v, want ErrOldTables", err)
		}
		admin(t, server, fmt.Sprintf(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (%d, 1)`, newestTables)) // as docs/mysql.md says
		openMySQLAt(t, cfg.DSN)
	})
}

// A start that was cut off between goose's CREATE and its first row is made up
// for.
func TestMigrateMySQLEmptyVersions(t *testing.T) {
	server := backends.MySQL(t)
	cfg := MySQLConfig{DSN: server.DSN}
	if _, _, err := MigrateMySQL(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	for table := range tableColumns {
		admin(t, server, `DROP TABLE `+table)
	}
	admin(t, server, `DELETE FROM goose_db_version`)
	if from, to, err := MigrateMySQL(t.Context(), cfg); err != nil || from != 0 || to != newestTables {
		t.Fatalf("migrate: from %d to %d, %v", from, to, err)
	}
	mustAppend(t, openMySQLAt(t, server.DSN).Store, chain("r", 3)...)
}

// A table that is missing although goose's rows say that all is there: no node
// starts to refuse every message, and a migration does not call it up to date.
func TestMySQLPartOfTables(t *testing.T) {
	server := backends.MySQL(t)
	cfg := MySQLConfig{DSN: server.DSN}
	for table := range tableColumns {
		if _, _, err := MigrateMySQL(t.Context(), cfg); err != nil {
			t.Fatalf("before %s is dropped: %v", table, err)
		}
		admin(t, server, `DROP TABLE `+table)
		if m, err := OpenMySQL(t.Context(), cfg); !errors.Is(err, ErrPartOfTables) || !strings.Contains(err.Error(), ": "+table+" is missing") {
			t.Errorf("without %s: open: %v", table, err)
			if m != nil {
				_ = m.Close()
			}
		}
		if _, _, err := MigrateMySQL(t.Context(), cfg); !errors.Is(err, ErrPartOfTables) {
			t.Errorf("without %s: migrate: %v", table, err)
		}
		admin(t, server, `DELETE FROM goose_db_version`) // what the error says
	}
	if _, _, err := MigrateMySQL(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	admin(t, server, `ALTER TABLE meta DROP COLUMN value`)
	if _, err := OpenMySQL(t.Context(), cfg); !errors.Is(err, ErrPartOfTables) || !strings.Contains(err.Error(), "meta") {
		t.Errorf("without a column: open: %v", err)
	}
}
