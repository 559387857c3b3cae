package sink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// How MySQL is used where the DSN says nothing else.
const (
	dialTimeout  = 5 * time.Second
	readTimeout  = 10 * time.Second // of one answer: a statement that takes longer is tried again
	writeTimeout = 10 * time.Second

	// Below the idle time-outs of proxies and of PlanetScale, and so that the
	// connections move after a fail-over.
	connLifetime = 3 * time.Minute

	// A batch has one connection, and a second one may have to be opened while
	// a dead one is waited for.
	writeConns = 2

	// A process that is paused within a transaction holds its locks, and
	// whoever takes over waits for them: so the server ends the session of one
	// that has been silent for so many seconds. Connections at rest are closed
	// before it does.
	writeSilence = 15
	writeIdle    = 10 * time.Second

	// Seconds to wait for a row: less than readTimeout, so that the answer is
	// heard and not a connection lost.
	lockWait = 5
)

// MySQLConfig says which database, and how many connections it gets.
type MySQLConfig struct {
	// DSN is user:password@tcp(host:3306)/database?name=value. tls=true asks
	// for TLS; timeout, readTimeout and writeTimeout have defaults.
	DSN string

	// RootCAs are whom a server's certificate must be from, instead of the
	// system's. With it TLS is on whatever the DSN says.
	RootCAs *x509.CertPool

	// ReadConns is how many reads run at once, default 4. Two more
	// connections write.
	ReadConns int

	// Sharded says that rooms are in different shards, so that one transaction
	// is not atomic across them. PlanetScale and Vitess are taken to be so.
	Sharded bool
}

// Validate reports a DSN that cannot be meant, without its password.
func (c MySQLConfig) Validate() error {
	_, err := parseDSN(c)
	return err
}

// Where is the database and its server, for a log: without user and password.
func (c MySQLConfig) Where() string {
	dsn, err := parseDSN(c)
	if err != nil {
		return ""
	}
	return dsn.DBName + " at " + dsn.Addr
}

// MySQL is a Store on MySQL 8, MariaDB or PlanetScale, which other processes
// use at the same time. Beside what every Store can, it is written from a log:
// see Commit.
type MySQL struct {
	*Store
	maxPacket int // bytes of one statement that the server takes
	sharded   bool
	commits   *committer
}

// OpenMySQL connects to a database and checks its tables. An empty database
// gets them, from whoever comes first; one that an older Hubbub has written is
// refused with ErrOldTables, since what a migration costs there is for a
// person to judge. No error contains the DSN's password.
func OpenMySQL(ctx context.Context, cfg MySQLConfig) (*MySQL, error) {
	dsn, err := parseDSN(cfg)
	if err != nil {
		return nil, err
	}
	m := &MySQL{Store: &Store{dialect: &mysqlDialect}}
	if err := m.open(ctx, dsn, cfg); err != nil {
		m.closed = true
		return nil, errors.Join(fmt.Errorf("database %s at %s: %w", dsn.DBName, dsn.Addr, err), m.release())
	}
	return m, nil
}

// open does what may fail. Whatever it has opened by then, release closes.
func (m *MySQL) open(ctx context.Context, dsn *mysql.Config, cfg MySQLConfig) error {
	server, err := startMySQL(ctx, dsn)
	if err != nil {
		return err
	}
	m.maxPacket, m.sharded = server.maxPacket, server.vitess || cfg.Sharded
	dsn.MaxAllowedPacket = m.maxPacket
	if m.reads, err = openPool(dsn, cfg.ReadConns); err != nil {
		return err
	}
	if m.writes, err = openPool(server.forWriting(dsn), writeConns); err != nil {
		return err
	}
	m.writes.SetConnMaxIdleTime(writeIdle)
	if m.epoch, err = m.mintEpoch(ctx); err != nil {
		return err
	}
	if m.writer, err = newWriter(ctx, m.writes, m.dialect); err != nil {
		return err
	}
	m.writer.maxSize = m.MaxSize()
	m.commits = newCommitter(m.writer)
	return m.prepare(ctx)
}

// parseDSN reads a DSN and settles what Hubbub relies on.
func parseDSN(cfg MySQLConfig) (*mysql.Config, error) {
	dsn, err := mysql.ParseDSN(cfg.DSN)
	if err != nil {
		// The driver quotes what it did not understand, and that may be the
		// password. What it says in words of its own is safe.
		reason, own := strings.CutPrefix(err.Error(), "invalid DSN: ")
		if !own {
			reason = "it has a part that means nothing"
		}
		return nil, fmt.Errorf("the DSN is not of the form user:password@tcp(host:port)/database: %s", reason)
	}
	if dsn.DBName == "" {
		return nil, errors.New("the DSN names no database: user:password@tcp(host:port)/database")
	}
	for _, t := range []struct {
		value *time.Duration
		usual time.Duration
	}{{&dsn.Timeout, dialTimeout}, {&dsn.ReadTimeout, readTimeout}, {&dsn.WriteTimeout, writeTimeout}} {
		if *t.value == 0 {
			*t.value = t.usual
		}
	}
	dsn.InterpolateParams = true // one round trip a statement
	dsn.MultiStatements = false
	dsn.ClientFoundRows = false // an upsert that changes nothing counts no row
	dsn.AllowAllFiles = false
	dsn.Logger = &mysql.NopLogger{} // what it says comes as an error too
	if err := dsn.Apply(mysql.Charset("utf8mb4", "")); err != nil {
		return nil, err
	}
	if cfg.RootCAs != nil {
		host, _, err := net.SplitHostPort(dsn.Addr)
		if err != nil {
			host = dsn.Addr
		}
		if dsn.TLS == nil {
			dsn.TLS = &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
		}
		dsn.TLS.RootCAs = cfg.RootCAs
	}
	return dsn, nil
}

// mysqlServer is what a server says of itself.
type mysqlServer struct {
	maxPacket int  // bytes of a statement
	strict    bool // it refuses what does not fit a column
	vitess    bool // PlanetScale, or Vitess by itself
}

// startMySQL asks the server, and sees to the tables, on connections of its
// own: those that write may not be silent for as long as a migration takes.
func startMySQL(ctx context.Context, dsn *mysql.Config) (s mysqlServer, err error) {
	db, err := openPool(dsn, migrateConns)
	if err != nil {
		return s, err
	}
	defer db.Close() // nothing is under way on it
	var mode, version string
	err = db.QueryRowContext(ctx, `SELECT @@max_allowed_packet, @@sql_mode, @@version`).Scan(&s.maxPacket, &mode, &version)
	if err != nil {
		return s, err
	}
	s.strict = strings.Contains(mode, "STRICT_ALL_TABLES") || strings.Contains(mode, "STRICT_TRANS_TABLES")
	s.vitess = strings.Contains(version, "Vitess") || strings.Contains(version, "PlanetScale")
	return s, checkMySQLTables(ctx, db)
}

// forWriting returns the DSN of the connections that write. What they set they
// set at once, when they are opened. Vitess gives connections with settings of
// their own less gladly and has limits of its own on transactions, so there
// only what must be is set.
func (s mysqlServer) forWriting(dsn *mysql.Config) *mysql.Config {
	dsn = dsn.Clone()
	if dsn.Params == nil {
		dsn.Params = make(map[string]string)
	}
	if !s.strict {
		// Otherwise MySQL shortens what does not fit, and says nothing.
		dsn.Params["sql_mode"] = "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"
	}
	if !s.vitess {
		dsn.Params["wait_timeout"] = strconv.Itoa(writeSilence)
		dsn.Params["innodb_lock_wait_timeout"] = strconv.Itoa(lockWait)
	}
	return dsn
}

func openPool(dsn *mysql.Config, conns int) (*sql.DB, error) {
	connector, err := mysql.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	if conns == 0 {
		conns = readConns
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	db.SetConnMaxLifetime(connLifetime)
	return db, nil
}

// MaxSize is the largest Message.Size that the store takes.
func (m *MySQL) MaxSize() int { return m.maxPacket - 64<<10 }

// Sharded reports whether rows and positions may be in different shards. Then
// positions follow the rows, and whoever reads one goes back some minutes.
func (m *MySQL) Sharded() bool { return m.sharded }

// Ping reports whether the database answers.
func (m *MySQL) Ping(ctx context.Context) error {
	if err := m.reads.PingContext(ctx); err != nil {
		return fmt.Errorf("ping the database: %w", err)
	}
	return nil
}

// dataErrors are what MySQL and MariaDB answer when a value cannot be stored.
// Everything that is not here may pass: it is tried again, never put aside.
var dataErrors = map[uint16]bool{
	1048: true, // a column cannot be NULL
	1153: true, // packet larger than max_allowed_packet
	1264: true, // out of range
	1265: true, // truncated
	1292: true, // incorrect value
	1300: true, // invalid character string
	1366: true, // incorrect string value
	1406: true, // too long for its column
	1690: true, // out of range, in an expression
	3819: true, // CHECK, MySQL
	4025: true, // CHECK, MariaDB
}

// classifyMySQL tells apart what can be tried again, what never will succeed,
// and what nobody knows.
func classifyMySQL(err error) error {
	var e *mysql.MySQLError
	switch {
	case err == nil, errors.Is(err, ErrData):
		return err
	case errors.As(err, &e) && (e.Number == 1213 || e.Number == 1205): // deadlock, lock wait time-out
		return fmt.Errorf("%w: %w", ErrBusy, err)
	case errors.As(err, &e) && dataErrors[e.Number], errors.Is(err, mysql.ErrPktTooLarge):
		return fmt.Errorf("%w: %w", ErrData, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
