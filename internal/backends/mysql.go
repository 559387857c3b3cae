package backends

import (
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

// MySQLServer is a MariaDB server and an empty database in it.
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
// mariadbd takes them.
func OwnMySQL(t testing.TB, args ...string) *MySQLServer {
	t.Helper()
	s := newMySQL(t, args...)
	s.untilEnd()
	prefix := mysqlAccount + "@tcp(" + s.Addr + ")/"
	execSQL(t, prefix, "CREATE DATABASE hubbub CHARACTER SET utf8mb4")
	s.DSN = prefix + "hubbub"
	return s
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

// newMySQL is a server with its system tables that does not run yet. Making
// them takes less than a second, so they are not kept anywhere.
func newMySQL(t testing.TB, args ...string) *MySQLServer {
	t.Helper()
	path := Program(t, "mariadbd")
	install := Program(t, "mariadb-install-db")
	s := &MySQLServer{Process: newProcess(t, "mysql", path), Addr: Addr(t)}
	data, grants := filepath.Join(s.dir, "data"), filepath.Join(s.dir, "grants.sql")
	tmp := filepath.Join(s.dir, "tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	user, password, _ := strings.Cut(mysqlAccount, ":")
	sql := fmt.Sprintf("FLUSH PRIVILEGES;\nCREATE USER '%s'@'127.0.0.1' IDENTIFIED BY '%s';\n"+
		"GRANT ALL ON *.* TO '%[1]s'@'127.0.0.1' WITH GRANT OPTION;\n", user, password)
	if err := os.WriteFile(grants, []byte(sql), 0o600); err != nil {
		t.Fatal(err)
	}
	// A server that starts removes all temporary tables of its tmpdir, those of other
	// servers too: /tmp would not do.
	common := []string{"--no-defaults", "--datadir=" + data, "--tmpdir=" + tmp, "--innodb-log-file-size=16M"}
	if os.Getuid() == 0 {
		common = append(common, "--user=root") // it refuses root unless told
	}
	cmd := exec.Command(install, append(common, "--skip-test-db", "--extra-file="+grants)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		_ = os.RemoveAll(s.dir)
		t.Fatalf("mariadb-install-db: %v: %s", err, out)
	}
	s.args = append(append(common,
		"--bind-address=127.0.0.1", "--port="+portOf(s.Addr), "--socket="+filepath.Join(s.dir, "socket"),
		"--pid-file="+filepath.Join(s.dir, "pid"), "--skip-name-resolve", "--innodb-buffer-pool-size=64M"), args...)
	s.ready = s.greets
	return s
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
	cmd := exec.Command(Program(t, "mariadb", "mysql"), "--no-defaults", "--protocol=tcp",
		"--skip-column-names", "--host="+host, "--port="+port, "--user="+user, "--execute="+sql)
	cmd.Env = append(os.Environ(), "MYSQL_PWD="+password)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", sql, err, out)
	}
	return string(out)
}
