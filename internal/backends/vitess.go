package backends

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/hubbub-chat/hubbub/schema"
)

// With HUBBUB_TEST_DB=vitess, MySQL gives each test a keyspace of two shards in
// a Vitess that the tests of a binary share: a MySQL, and beside it vtcombo,
// which is a vtgate and all tablets in one process. Servers of a test's own
// (OwnMySQL) are MySQL's: Vitess cannot be one.

// keyspaces is how many tests of one binary can have one at a time. What a test
// leaves is dropped, and the next has it.
const keyspaces = 6

// nobody runs vtcombo where root does the tests: it refuses root.
const nobody = 65534

var sharedVitess struct {
	once sync.Once
	addr string
	err  error
	free chan string

	// Kept: a Process that is collected lets its guard end it.
	mysql *MySQLServer
	combo *Process
}

func onVitess() bool { return os.Getenv("HUBBUB_TEST_DB") == "vitess" }

// vitessKeyspace gives an empty keyspace.
func vitessKeyspace(t testing.TB) *MySQLServer {
	t.Helper()
	v := &sharedVitess
	v.once.Do(func() { v.addr, v.err = startVitess(t) })
	if v.err != nil {
		t.Fatal(v.err)
	}
	if v.free == nil {
		t.Fatal("Vitess did not start for an earlier test")
	}
	name := <-v.free
	dsn := mysqlAccount + "@tcp(" + v.addr + ")/"
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Vitess said last:\n%s", v.combo.lastWords())
		}
		for table := range strings.FieldsSeq(execSQL(t, dsn, "USE "+name+"; SHOW TABLES")) {
			execSQL(t, dsn, "USE "+name+"; DROP TABLE "+table)
		}
		v.free <- name
	})
	return &MySQLServer{Process: foreign(t, "Vitess"), Addr: v.addr, DSN: dsn + name}
}

// startVitess starts both servers, which end with the test binary, and returns
// the address of vtgate.
func startVitess(t testing.TB) (addr string, err error) {
	t.Helper()
	binary := findVTCombo(t)
	m := newMySQL(t, "--log-bin", "--server-id=1", "--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--max-connections=1000")
	m.Start()
	m.t = nil // it outlives the test
	names := make(chan string, keyspaces)
	var topology, setup strings.Builder
	for _, user := range []string{"vt_dba", "vt_app", "vt_appdebug", "vt_allprivs", "vt_repl", "vt_filtered", "vt_monitoring"} {
		fmt.Fprintf(&setup, "CREATE USER '%s'@'localhost'; GRANT ALL ON *.* TO '%[1]s'@'localhost' WITH GRANT OPTION;\n", user)
	}
	p := newProcess(t, "vitess", binary)
	for i := range keyspaces {
		name := "t" + strconv.Itoa(i)
		names <- name
		fmt.Fprintf(&topology, `keyspaces:<name:"%s" replica_count:1 shards:<name:"-80"> shards:<name:"80-">> `, name)
		fmt.Fprintf(&setup, "CREATE DATABASE `vt_%s_-80`; CREATE DATABASE `vt_%[1]s_80-`;\n", name)
		dir := filepath.Join(p.dir, "schema", name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, "vschema.json"), []byte(schema.VSchema), 0o644); err != nil {
			return "", err
		}
	}
	execSQL(t, mysqlAccount+"@tcp("+m.Addr+")/", setup.String())
	addr = Addr(t)
	if err := vtcombo(p, m, binary, addr, topology.String()+`cells:"test"`, portOf(Addr(t)), portOf(Addr(t))); err != nil {
		return "", err
	}
	client := Program(t, "mariadb", "mysql")
	p.ready = func() error {
		sql := "USE t" + strconv.Itoa(keyspaces-1) + "; SELECT 1"
		out, err := tryClient(client, "--host=127.0.0.1", "--port="+portOf(addr), "--user=x", "", sql)
		if err != nil {
			return errors.New(out)
		}
		return nil
	}
	p.Start()
	p.t = nil
	sharedVitess.free, sharedVitess.mysql, sharedVitess.combo = names, m, p
	return addr, nil
}

// vtcombo sets the command line up.
func vtcombo(p *Process, m *MySQLServer, binary, addr, topology, web, grpc string) error {
	// Another user runs it, who reaches neither the cache nor a directory of
	// root's alone.
	p.path = filepath.Join(p.dir, "vtcombo")
	root, socket := filepath.Join(p.dir, "vtroot"), filepath.Join(m.dir, "socket")
	if err := errors.Join(place(binary, p.path), os.Mkdir(root, 0o777), os.Chmod(root, 0o777), os.Chmod(p.dir, 0o755), os.Chmod(m.dir, 0o755)); err != nil {
		return err
	}
	p.env = []string{"VTDATAROOT=" + root}
	p.args = []string{
		"--port", web, "--bind-address", "127.0.0.1", "--grpc-port", grpc,
		"--mysql-server-port", portOf(addr), "--mysql-server-bind-address", "127.0.0.1", "--mysql-auth-server-impl", "none",
		"--db-charset", "utf8mb4", "--db-app-user", "vt_dba", "--db-dba-user", "vt_dba", "--db-socket", socket,
		"--mycnf-server-id", "1", "--mycnf-socket-file", socket,
		"--proto-topo", topology, "--schema-dir", filepath.Join(p.dir, "schema"),
		"--dbddl-plugin", "vttest", "--enable-direct-ddl=true", "--transaction-mode", "MULTI",
		"--tablet-refresh-interval", "10s", "--tablet-types-to-wait", "PRIMARY",
	}
	if os.Getuid() == 0 {
		setpriv, err := exec.LookPath("setpriv")
		if err != nil {
			return err
		}
		id := strconv.Itoa(nobody)
		p.args = append([]string{"--reuid=" + id, "--regid=" + id, "--clear-groups", p.path}, p.args...)
		p.path = setpriv
	}
	return nil
}

// place puts a file where it can be read by all, as a link if it can be one.
func place(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// findVTCombo returns what scripts/install-vtcombo has built.
func findVTCombo(t testing.TB) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		leaveOut(t, "Vitess has no place: "+err.Error())
	}
	found, err := filepath.Glob(filepath.Join(cache, "hubbub", "vitess-*", "vtcombo"))
	if err != nil || len(found) == 0 {
		leaveOut(t, "Vitess is not there: run scripts/install-vtcombo")
	}
	return found[len(found)-1]
}
