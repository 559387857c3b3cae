package sink

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// advise adds to an error of the start what to do about it, where the server's
// own words leave that open.
func advise(err error) error {
	var e *mysql.MySQLError
	if !errors.As(err, &e) {
		return err
	}
	what := ""
	switch {
	case isDenied(err):
		what = "the user needs SELECT, INSERT, UPDATE and DELETE on this database, and CREATE for a first start and for `hubbub migrate`"
	case isReadOnly(err):
		what = "this server only reads, as a replica does: the address has to lead to the one that takes writes"
	case strings.Contains(strings.ToLower(e.Message), "insecure"): // MySQL's require_secure_transport, PlanetScale
		what = "add tls=true to the DSN"
	case strings.Contains(e.Message, "tablet_type:REPLICA"), strings.Contains(e.Message, "tablet_type:RDONLY"):
		what = onlyReads
	case strings.Contains(e.Message, "direct DDL is disabled"):
		what = "the tables come by a deploy request here, then run `hubbub migrate`: see docs/mysql.md"
	}
	if what == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, what)
}

// onlyReads is what to do about a name like keyspace@replica.
const onlyReads = "a replica only reads, and Hubbub writes: name the keyspace alone"

// checkTarget refuses what a database's name can mean to Vitess and cannot work:
// a replica takes no writes, and in one shard the rows of the other shards'
// rooms would be found by nobody else. Elsewhere a name is a name.
func (s mysqlServer) checkTarget(dsn *mysql.Config) error {
	if !s.vitess {
		return nil
	}
	target, kind, typed := strings.Cut(dsn.DBName, "@")
	switch {
	case typed && !strings.EqualFold(kind, "primary") && !strings.EqualFold(kind, "master"):
		return errors.New(onlyReads)
	case strings.ContainsAny(target, ":/"):
		return fmt.Errorf("%s is a shard: name the keyspace alone", target)
	}
	return nil
}
