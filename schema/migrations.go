package schema

import (
	"embed"
	"io/fs"
)

//go:embed migrations/sqlite/*.sql migrations/mysql/*.sql
var migrations embed.FS

// VSchema is what a sharded keyspace of Vitess needs to know of the tables, in
// the form that `vtctldclient ApplyVSchema --vschema-file` takes.
//
//go:embed vschema.json
var VSchema string

// SQLiteMigrations returns the goose migrations of the embedded store, at the
// root of the file system. A migration that has been released is never edited:
// a database remembers its number alone.
func SQLiteMigrations() fs.FS { return directory("sqlite") }

// MySQLMigrations returns those of MySQL, MariaDB and PlanetScale. The same is
// true of them.
func MySQLMigrations() fs.FS { return directory("mysql") }

func directory(name string) fs.FS {
	sub, err := fs.Sub(migrations, "migrations/"+name)
	if err != nil {
		panic("schema: the migrations were not embedded: " + err.Error())
	}
	return sub
}
