package sink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"go.uber.org/zap"
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

	// A probe changes one row of one table. For so long after somebody has
	// tried to write more than that, it does not prove that this would succeed.
	probeTrust = 15 * time.Second
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
	// connections write, and one sees whether the server answers.
	ReadConns int

	// Sharded says that rooms and positions may be in different shards, so that
	// no transaction spans them. A keyspace of Vitess is asked.
	Sharded bool

	// Log hears of changes of the database's state; nil: none.
	Log *zap.Logger
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
	maxPacket int  // bytes of one statement that the server takes
	sharded   bool // by the configuration
	commits   *committer
	roles     roles // of the servers behind the address
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
	m := &MySQL{Store: &Store{dialect: &mysqlDialect, health: newHealth("mysql", cfg.Log)}}
	m.health.moved = func() { m.roles.changes.Add(1) }
	if err := m.open(ctx, dsn, cfg); err != nil {
		m.closed = true
		return nil, errors.Join(fmt.Errorf("database %s at %s: %w", dsn.DBName, dsn.Addr, advise(err)), m.release())
	}
	return m, nil
}

// open does what may fail. Whatever it has opened by then, release closes.
func (m *MySQL) open(ctx context.Context, dsn *mysql.Config, cfg MySQLConfig) error {
	server, err := askMySQL(ctx, dsn)
	if err != nil {
		return err
	}
	if err := server.checkTables(ctx, dsn); err != nil {
		return err
	}
	m.maxPacket, m.sharded = server.maxPacket, cfg.Sharded
	dsn.MaxAllowedPacket = m.maxPacket
	if m.reads, err = openPool(dsn, cfg.ReadConns, &mysqlConnector{session: server.session(false), roles: &m.roles}); err != nil {
		return err
	}
	if m.writes, err = openPool(dsn, writeConns, &mysqlConnector{session: server.session(true), roles: &m.roles}); err != nil {
		return err
	}
	if server.vitess {
		m.shards = newShardMap(m.reads, dsn)
		if err := m.shards.count(ctx); err != nil {
			return err
		}
	}
	m.writes.SetConnMaxIdleTime(writeIdle)
	if m.probes, err = openPool(dsn, 1, &mysqlConnector{session: server.session(true), roles: &m.roles}); err != nil {
		return err
	}
	if m.epoch, err = m.mintEpoch(ctx); err != nil {
		return err
	}
	if err := m.checkDelete(ctx); err != nil {
		return err
	}
	if m.writer, err = newWriter(ctx, m.writes, m.dialect); err != nil {
		return err
	}
	m.writer.maxSize = m.MaxSize()
	m.commits = newCommitter(m.writer)
	if err := m.prepare(ctx); err != nil {
		return err
	}
	m.health.watch(m.lookAfter)
	return nil
}

// checkDelete tries the one right that a start would not need, and that is
// missed only when a repair or a block ends.
func (m *MySQL) checkDelete(ctx context.Context) error {
	if _, err := m.writes.ExecContext(ctx, m.dialect.log.endRepair, "", 0, "", 0, ""); err != nil { // of no topic
		return fmt.Errorf("delete nothing: %w", err)
	}
	if _, err := m.writes.ExecContext(ctx, m.dialect.dropBlocked, -1, 1); err != nil { // none ends before 1970
		return fmt.Errorf("delete nothing: %w", err)
	}
	return nil
}

// lookAfter is what a MySQL does every second: it sees whether the server
// takes writes, on a connection that nobody else can keep waiting.
func (m *MySQL) lookAfter(ctx context.Context) {
	each, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	_, err := m.probes.ExecContext(each, m.dialect.probe)
	switch {
	case ctx.Err() != nil:
	case err == nil && m.quiet() < probeTrust && !isReadOnly(m.health.contact.Status().Err):
		m.health.contact.Heard() // what was refused may have been more than this
	default:
		m.health.wrote(m.dialect.classify(err))
	}
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
	// Of the session the rest is settled by sessionSettings.
	dsn.InterpolateParams = true // one round trip a statement
	dsn.MultiStatements = false
	dsn.ClientFoundRows = false // an upsert that changes nothing counts no row
	dsn.AllowAllFiles = false
	dsn.RejectReadOnly = false      // it would hide why, and close one connection of all
	dsn.ParseTime = false           // no time is read, and goose asks for none
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

// MaxSize is the largest Message.Size that the store takes.
func (m *MySQL) MaxSize() int { return m.maxPacket - 64<<10 }

// Sharded reports whether rows and positions may be in different shards. Then
// positions follow the rows, and whoever reads one goes back some minutes.
func (m *MySQL) Sharded() bool { return m.sharded || m.shards != nil && m.shards.many.Load() }

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

// readOnly are what a server answers that is not the one that takes writes, or
// not any more: another may be behind the same address by now.
var readOnly = map[uint16]bool{
	1290: true, // --read-only, --super-read-only
	1792: true, // a transaction that only reads
	1836: true, // read-only mode
	1047: true, // Galera: not part of a cluster
	3100: true, // Group Replication: not part of a group
}

// isReadOnly reports whether an error is one of these.
func isReadOnly(err error) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && readOnly[e.Number]
}

// isDenied reports that the user has no right to a statement: on the database, the
// table or the column. Vitess has one number for all refusals.
func isDenied(err error) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) &&
		(e.Number == 1044 || e.Number == 1142 || e.Number == 1143 || strings.Contains(e.Message, "command denied to user"))
}

// outdatesSessions reports an answer after which no connection is used again. The
// rights on a database, too, are those of when a session began, so one that is
// refused would be refused after they have been given back.
func outdatesSessions(err error) bool { return isReadOnly(err) || isDenied(err) }

// classifyMySQL tells apart what can be tried again, what never will succeed,
// and what nobody knows.
func classifyMySQL(err error) error {
	var e *mysql.MySQLError
	switch {
	case err == nil, errors.Is(err, ErrData), errors.Is(err, ErrBusy), errors.Is(err, ErrUnavailable):
		return err
	case errors.As(err, &e) && (e.Number == 1213 || e.Number == 1205): // deadlock, lock wait time-out
		return fmt.Errorf("%w: %w", ErrBusy, err)
	case errors.As(err, &e) && dataErrors[e.Number], errors.Is(err, mysql.ErrPktTooLarge):
		return fmt.Errorf("%w: %w", ErrData, err)
	case e != nil: // it was answered, so nothing was stored; to ask again is right all the same
		return fmt.Errorf("%w: %w: %w", ErrUnavailable, ErrRefused, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
