package backends

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// MySQLServer is a server, MariaDB or what HUBBUB_TEST_DB says, and an empty
// database in it.
type MySQLServer struct {
	*Process
	Addr string
	DSN  string // USER:PASSWORD@tcp(HOST:PORT)/DATABASE
}

// The account of own servers, which only listen on loopback.
const mysqlAccount = "hubbub:hubbub"

// shared is the server that the tests of this binary have in common.
var shared struct {
	mu     sync.Mutex
	server *MySQLServer
}

// MySQL gives an empty database that is dropped when the test ends, in the
// server of HUBBUB_TEST_MYSQL, or in one that all tests of this binary share.
// It cannot be stopped: see OwnMySQL.
func MySQL(t testing.TB) *MySQLServer {
	t.Helper()
	prefix := os.Getenv("HUBBUB_TEST_MYSQL")
	if prefix == "" && onVitess() {
		return vitessKeyspace(t, &sharedVitess.free)
	}
	if prefix == "" {
		prefix = sharedMySQL(t)
	}
	i := strings.LastIndex(prefix, "/")
	if i < 0 {
		t.Fatalf("HUBBUB_TEST_MYSQL is not USER:PASSWORD@tcp(HOST:PORT)/")
	}
	prefix = prefix[:i+1]
	name := fmt.Sprintf("hubbub_test_%016x", rand.Uint64())
	execSQL(t, prefix, "CREATE DATABASE "+name+" CHARACTER SET utf8mb4")
	t.Cleanup(func() { execSQL(t, prefix, "DROP DATABASE IF EXISTS "+name) })
	return &MySQLServer{Process: foreign(t, "MariaDB"), Addr: addrOf(prefix), DSN: prefix + name}
}

// OwnMySQL starts a server of the test's own, with further arguments as
// mariadbd and mysqld take them.
func OwnMySQL(t testing.TB, args ...string) *MySQLServer {
	t.Helper()
	s := newMySQL(t, args...)
	s.untilEnd()
	prefix := mysqlAccount + "@tcp(" + s.Addr + ")/"
	execSQL(t, prefix, "CREATE DATABASE hubbub CHARACTER SET utf8mb4")
	s.DSN = prefix + "hubbub"
	return s
}

// Database is a database of the test's own, of the kind that HUBBUB_TEST_DB names.
type Database struct {
	DSN   string
	Parts []Part // what another needs to start comes before it
}

// Part is one of its processes, and what to call it in a sentence.
type Part struct {
	Name string
	*Process
}

// OwnDatabase is OwnMySQL, or OwnVitess.
func OwnDatabase(t testing.TB) *Database {
	t.Helper()
	if onVitess() {
		s := OwnVitess(t)
		return &Database{s.DSN, []Part{{"MySQL beneath Vitess", s.Beneath.Process}, {"Vitess", s.Process}}}
	}
	s := OwnMySQL(t)
	return &Database{s.DSN, []Part{{kind(t).name, s.Process}}}
}

// sharedMySQL returns the DSN, up to the name of a database, of the server that
// all share. It ends with the test binary.
func sharedMySQL(t testing.TB) string {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server == nil {
		s := newMySQL(t)
		s.Start()
		s.t = nil // it outlives the test
		shared.server = s
	}
	return mysqlAccount + "@tcp(" + shared.server.Addr + ")/"
}

// database is a kind of server that speaks MySQL's protocol.
type database struct {
	name   string
	make   func(t testing.TB, s *MySQLServer) []string // its system tables, in s.dir/data; returns arguments
	find   func(t testing.TB) string                   // its program
	redoMB string                                      // the argument for the size of its redo log, in MiB
}

// databases are the kinds that HUBBUB_TEST_DB names.
var databases = map[string]database{
	"mariadb": {"MariaDB", installMariaDB, func(t testing.TB) string { return Program(t, "mariadbd") }, "--innodb-log-file-size=%dM"},
	"mysql":   {"MySQL", copyMySQL, findMySQL, "--innodb-redo-log-capacity=%dM"},
	"vitess":  {"MySQL", copyMySQL, findMySQL, "--innodb-redo-log-capacity=%dM"}, // OwnMySQL; see vitess.go
}

// kind is the database that tests run on.
func kind(t testing.TB) database {
	t.Helper()
	name := cmp.Or(os.Getenv("HUBBUB_TEST_DB"), "mariadb")
	d, ok := databases[name]
	if !ok {
		t.Fatalf("HUBBUB_TEST_DB=%s is not mariadb, mysql or vitess", name)
	}
	return d
}

// RedoLog is the argument of OwnMySQL for a redo log of so many MiB.
func RedoLog(t testing.TB, mib int) string { return fmt.Sprintf(kind(t).redoMB, mib) }

// newMySQL is a server with its system tables that does not run yet.
func newMySQL(t testing.TB, args ...string) *MySQLServer {
	t.Helper()
	return newMySQLOf(t, kind(t), args...)
}

func newMySQLOf(t testing.TB, d database, args ...string) *MySQLServer {
	t.Helper()
	s := &MySQLServer{Process: newProcess(t, "mysql", d.find(t)), Addr: Addr(t)}
	if err := os.Mkdir(filepath.Join(s.dir, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.args = append(append(d.make(t, s), fmt.Sprintf(d.redoMB, 16),
		"--bind-address=127.0.0.1", "--port="+portOf(s.Addr), "--socket="+filepath.Join(s.dir, "socket"),
		"--pid-file="+filepath.Join(s.dir, "pid"), "--skip-name-resolve", "--innodb-buffer-pool-size=64M"), args...)
	s.ready = s.greets
	return s
}

// places are arguments of every server.
func (s *MySQLServer) places() []string {
	// A server that starts removes all temporary tables of its tmpdir, those of other
	// servers too: /tmp would not do.
	args := []string{"--no-defaults", "--datadir=" + filepath.Join(s.dir, "data"), "--tmpdir=" + filepath.Join(s.dir, "tmp")}
	if os.Getuid() == 0 {
		args = append(args, "--user=root") // it refuses root unless told
	}
	return args
}

// installMariaDB makes the tables, which takes less than a second.
func installMariaDB(t testing.TB, s *MySQLServer) []string {
	t.Helper()
	grants := filepath.Join(s.dir, "grants.sql")
	user, password, _ := strings.Cut(mysqlAccount, ":")
	sql := fmt.Sprintf("FLUSH PRIVILEGES;\nCREATE USER '%s'@'127.0.0.1' IDENTIFIED BY '%s';\n"+
		"GRANT ALL ON *.* TO '%[1]s'@'127.0.0.1' WITH GRANT OPTION;\n", user, password)
	if err := os.WriteFile(grants, []byte(sql), 0o600); err != nil {
		t.Fatal(err)
	}
	install := Program(t, "mariadb-install-db")
	cmd := exec.Command(install, append(s.places(), "--skip-test-db", "--extra-file="+grants)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		_ = os.RemoveAll(s.dir)
		t.Fatalf("mariadb-install-db: %v: %s", err, out)
	}
	return s.places()
}

// mysqlHome is where scripts/install-mysql keeps MySQL, with a data directory
// in which mysqlAccount is.
func mysqlHome(t testing.TB) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		leaveOut(t, "MySQL has no place: "+err.Error())
	}
	home := filepath.Join(cache, "hubbub", "mysql")
	if _, err := os.Stat(filepath.Join(home, "formatted", "mysql.ibd")); err != nil {
		leaveOut(t, "MySQL is not there: run scripts/install-mysql")
	}
	return home
}

func findMySQL(t testing.TB) string { return filepath.Join(mysqlHome(t), "mysqld") }

// copyMySQL copies the tables: to make them takes MySQL ten seconds.
func copyMySQL(t testing.TB, s *MySQLServer) []string {
	t.Helper()
	if err := os.CopyFS(filepath.Join(s.dir, "data"), os.DirFS(filepath.Join(mysqlHome(t), "formatted"))); err != nil {
		_ = os.RemoveAll(s.dir)
		t.Fatal(err)
	}
	return append(s.places(), "--skip-log-bin")
}

// greets returns nil when the server says its version to a client.
func (s *MySQLServer) greets() error {
	c, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	var greeting [5]byte // length, number, protocol
	if _, err := io.ReadFull(c, greeting[:]); err != nil {
		return err
	}
	if greeting[4] != 10 {
		return errors.New("it turns clients away")
	}
	return nil
}

// addrOf is the HOST:PORT of a DSN.
func addrOf(dsn string) string {
	_, rest, _ := strings.Cut(dsn, "@tcp(")
	addr, _, _ := strings.Cut(rest, ")")
	return addr
}

// execSQL runs statements with the command-line client, so that this package
// needs no driver, and returns the rows, columns parted by tabs.
func execSQL(t testing.TB, dsn, sql string) string {
	t.Helper()
	i := strings.LastIndex(dsn, "@tcp(")
	if i < 0 {
		t.Fatalf("HUBBUB_TEST_MYSQL is not USER:PASSWORD@tcp(HOST:PORT)/")
	}
	user, password, _ := strings.Cut(dsn[:i], ":")
	host, port, err := net.SplitHostPort(addrOf(dsn))
	if err != nil {
		t.Fatalf("HUBBUB_TEST_MYSQL: %v", err)
	}
	out, err := tryClient(Program(t, "mariadb", "mysql"), "--host="+host, "--port="+port, "--user="+user, password, sql)
	if err != nil {
		t.Fatalf("%s: %v: %s", sql, err, out)
	}
	return out
}

// tryClient runs statements with a command-line client.
func tryClient(client, host, port, user, password, sql string) (rows string, err error) {
	cmd := exec.Command(client, "--no-defaults", "--protocol=tcp", "--skip-column-names", host, port, user, "--execute="+sql)
	cmd.Env = append(os.Environ(), "MYSQL_PWD="+password)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
