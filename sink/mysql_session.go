package sink

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/go-sql-driver/mysql"
)

// setting is one variable of a session that Hubbub relies on. The server's
// default and the DSN may say otherwise: what is here is said last, on every
// connection. A variable that the server does not have is left out; of several
// names the first that it has is taken.
type setting struct {
	names []string
	value string
}

// maxMySQLError is how many bytes of a server's error text are kept. MySQL's own are
// shorter than 512.
const maxMySQLError = 512

// noLimit is more rows than there are: the largest number that vtgate takes, too.
const noLimit = "9223372036854775807"

// sessionSettings is the one place that says what a session is like.
var sessionSettings = []setting{
	// Everything outside a transaction is durable when it is answered, and a
	// read sees what is there now.
	{[]string{"autocommit"}, "1"},
	{[]string{"completion_type"}, "0"}, // COMMIT begins nothing and ends no connection
	{[]string{"transaction_read_only", "tx_read_only"}, "0"},
	// The level that the tests run on, and the default of every server.
	{[]string{"transaction_isolation", "tx_isolation"}, "'REPEATABLE-READ'"},
	// Otherwise what does not fit its column is shortened, without an error.
	{[]string{"sql_mode"}, "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"},
	{[]string{"unique_checks"}, "1"},
	{[]string{"default_storage_engine"}, "'InnoDB'"}, // the tables want transactions
	// A list that ends early would let blocked users in.
	{[]string{"sql_select_limit"}, noLimit},
	// A batch or a migration that is cut off is tried again, for ever. Reads
	// have a time limit of their own.
	{[]string{"max_execution_time"}, "0"}, // MySQL
	{[]string{"max_statement_time"}, "0"}, // MariaDB
}

// writeSettings are those of the connections that write, beside.
var writeSettings = []setting{
	{[]string{"wait_timeout"}, strconv.Itoa(writeSilence)},
	{[]string{"innodb_lock_wait_timeout"}, strconv.Itoa(lockWait)},
}

// vitessWriteSettings are those on Vitess, which ends silent transactions by
// itself. For transaction_mode see shardMap.
var vitessWriteSettings = []setting{
	{[]string{"innodb_lock_wait_timeout"}, strconv.Itoa(lockWait)},
	{[]string{"transaction_mode"}, "'SINGLE'"},
}

const (
	// vitessMessage is what vtgate and vttablet send each other at most
	// (--grpc-max-message-size), whatever max_allowed_packet says.
	vitessMessage = 16 << 20

	// leastPacket is the smallest max_allowed_packet. A longer INSERT goes in
	// pieces, which costs a round trip each, and one message must fit.
	leastPacket = 1 << 20
)

// mysqlServer is what a server says of itself.
type mysqlServer struct {
	maxPacket int               // bytes of a statement
	vitess    bool              // PlanetScale, or Vitess by itself
	variables map[string]string // of those that a setting names, in a session as the DSN makes it
}

// askMySQL asks a server what it is, on a connection of its own.
func askMySQL(ctx context.Context, dsn *mysql.Config) (s mysqlServer, err error) {
	// The list of variables below would end early, too.
	db, err := openPool(dsn, 1, &mysqlConnector{session: "SET sql_select_limit = " + noLimit})
	if err != nil {
		return s, err
	}
	defer db.Close() // nothing is under way on it
	var version string
	if err := db.QueryRowContext(ctx, `SELECT @@version`).Scan(&version); err != nil { // vtgate knows it by itself
		return s, err
	}
	s.vitess = strings.Contains(version, "Vitess") || strings.Contains(version, "PlanetScale")
	if err := s.checkTarget(dsn); err != nil {
		return s, err
	}
	if err := db.QueryRowContext(ctx, `SELECT @@max_allowed_packet`).Scan(&s.maxPacket); err != nil {
		return s, err
	}
	if s.vitess {
		s.maxPacket = min(s.maxPacket, vitessMessage)
	}
	if s.maxPacket < leastPacket {
		return s, fmt.Errorf("max_allowed_packet is %d bytes there: %d are the least, and 16 MiB or more are right", s.maxPacket, leastPacket)
	}
	var names []string
	for _, x := range slices.Concat(sessionSettings, writeSettings) {
		names = append(names, x.names...)
	}
	rows, err := db.QueryContext(ctx, `SHOW VARIABLES WHERE Variable_name IN ('`+strings.Join(names, `','`)+`')`)
	if err != nil {
		return s, fmt.Errorf("ask for the session's variables: %w", err)
	}
	defer rows.Close()
	s.variables = make(map[string]string)
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return s, fmt.Errorf("ask for the session's variables: %w", err)
		}
		s.variables[strings.ToLower(name)] = value
	}
	if s.vitess && strings.Contains(strings.ToUpper(s.variables["sql_mode"]), "NO_BACKSLASH_ESCAPES") {
		// A session's sql_mode is a hint within each statement there, which is
		// too late for how it is read.
		return s, errors.New("the servers beneath vtgate have sql_mode NO_BACKSLASH_ESCAPES, and Vitess writes backslashes: no value with one would be safe")
	}
	return s, rows.Err()
}

// session returns the statement that makes a session what it has to be. Vitess
// gives connections with settings of their own less gladly, so there only that
// is set which is otherwise.
func (s mysqlServer) session(writes bool) string {
	settings := sessionSettings
	if writes && !s.vitess {
		settings = slices.Concat(settings, writeSettings)
	}
	var set []string
	if writes && s.vitess {
		for _, x := range vitessWriteSettings { // vtgate does not list its own variables
			set = append(set, x.names[0]+" = "+x.value)
		}
	}
	for _, x := range settings {
		i := slices.IndexFunc(x.names, func(name string) bool { _, ok := s.variables[name]; return ok })
		if i < 0 || s.vitess && x.holds(s.variables[x.names[i]]) {
			continue
		}
		set = append(set, x.names[i]+" = "+x.value)
	}
	if len(set) == 0 {
		return ""
	}
	return "SET " + strings.Join(set, ", ")
}

// holds reports whether a variable's value does what the setting asks for.
func (x setting) holds(value string) bool {
	want := strings.Trim(x.value, "'")
	switch value = strings.ToUpper(value); x.names[0] {
	case "sql_mode":
		return strings.Contains(value, "STRICT_ALL_TABLES") || strings.Contains(value, "STRICT_TRANS_TABLES")
	case "completion_type":
		return value == want || value == "NO_CHAIN"
	}
	return value == strings.ToUpper(want) || want == "1" && value == "ON" || want == "0" && (value == "OFF" || value == "0.000000")
}

// roles counts how often a server has turned out not to be the one that takes
// writes, or to have other rights for the user. Behind the address there may be
// another by now, and rights are a session's, so connections from before are not
// used again.
type roles struct{ changes atomic.Uint64 }

// mysqlConnector opens connections, with the session's settings said last.
type mysqlConnector struct {
	driver.Connector
	session string // a statement; empty: none
	roles   *roles // nil: connections are good for as long as they work
}

// Connect implements driver.Connector.
func (c *mysqlConnector) Connect(ctx context.Context) (driver.Conn, error) {
	var from uint64
	if c.roles != nil {
		from = c.roles.changes.Load()
	}
	inner, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	conn := &mysqlConn{inner.(innerConn), c.roles, from}
	if c.session != "" {
		if _, err := conn.ExecContext(ctx, c.session, nil); err != nil {
			_ = conn.Close() // the error to report is the first
			return nil, fmt.Errorf("set up the session: %w", err)
		}
	}
	return conn, nil
}

// innerConn is what the driver's connections can do.
type innerConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.NamedValueChecker
	driver.SessionResetter
	driver.Validator
}

// mysqlConn is a connection that is not used again once the roles of the
// servers may have changed. (Rejected: the driver's rejectReadOnly, which
// closes one connection and hides the error that says why.)
type mysqlConn struct {
	innerConn
	roles *roles
	from  uint64
}

func (c *mysqlConn) stale() bool { return c.roles != nil && c.roles.changes.Load() != c.from }

// ExecContext implements driver.ExecerContext.
func (c *mysqlConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	result, err := c.innerConn.ExecContext(ctx, query, args)
	return result, withoutStatement(err)
}

// QueryContext implements driver.QueryerContext.
func (c *mysqlConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.innerConn.QueryContext(ctx, query, args)
	return rows, withoutStatement(err)
}

// withoutStatement shortens what Vitess answers: its errors have all of the
// statement in them, with what people wrote to each other, for a log to keep.
func withoutStatement(err error) error {
	var e *mysql.MySQLError
	if !errors.As(err, &e) {
		return err
	}
	for _, from := range []string{" (CallerID: ", ": Sql: ", ", BindVars: "} {
		e.Message, _, _ = strings.Cut(e.Message, from)
	}
	if len(e.Message) > maxMySQLError {
		e.Message = strings.ToValidUTF8(e.Message[:maxMySQLError], "") + "..."
	}
	return err
}

// IsValid implements driver.Validator: it is asked when a connection comes back.
func (c *mysqlConn) IsValid() bool { return !c.stale() && c.innerConn.IsValid() }

// ResetSession implements driver.SessionResetter: it is called when a
// connection is taken again.
func (c *mysqlConn) ResetSession(ctx context.Context) error {
	if c.stale() {
		return driver.ErrBadConn
	}
	return c.innerConn.ResetSession(ctx)
}

// openPool makes a pool whose connections c opens.
func openPool(dsn *mysql.Config, conns int, c *mysqlConnector) (*sql.DB, error) {
	inner, err := mysql.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	c.Connector = inner
	if conns == 0 {
		conns = readConns
	}
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	db.SetConnMaxLifetime(connLifetime)
	return db, nil
}
