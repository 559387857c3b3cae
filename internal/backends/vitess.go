package backends

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/schema"
)

// With HUBBUB_TEST_DB=vitess, MySQL gives each test a keyspace of two shards in
// a Vitess that the tests of a binary share: a MySQL, and beside it vtcombo,
// which is a vtgate and all tablets in one process. OwnMySQL is a MySQL then, for
// what Vitess has no arguments for.

// keyspaces is how many tests of one binary can have one at a time. What a test
// leaves is dropped, and the next has it.
const keyspaces = 6

// nobody runs vtcombo where root does the tests: it refuses root.
const nobody = 65534

// transactionSeconds is when Vitess ends a transaction, as on PlanetScale.
const transactionSeconds = 20

// VitessServer is a vtgate, and two shards with their tablets in one process.
// The embedded Process is that one, vtcombo, and Beneath the MySQL that has the
// shards' databases. Each of the two can be stopped, killed, paused and started
// again while the other runs: vtcombo keeps nothing but what is in the databases.
type VitessServer struct {
	*MySQLServer
	Beneath *MySQLServer
	Whole   string // the DSN of a keyspace that is not sharded
}

// OwnVitess starts a Vitess of the test's own; without HUBBUB_TEST_DB=vitess the
// test is skipped. Its DSN is of an empty keyspace of two shards, with Hubbub's
// vschema. Further arguments are vtcombo's.
func OwnVitess(t testing.TB, args ...string) *VitessServer {
	t.Helper()
	onVitessAlone(t)
	s := newVitess(t, (*Process).untilEnd, []string{"hubbub"}, args...)
	s.DSN, s.Whole = s.DSN+"hubbub", s.DSN+whole
	return s
}

// whole is the keyspace of one shard that every Vitess has.
const whole = "whole"

var sharedVitess struct {
	once   sync.Once
	server *VitessServer // nil: it did not start; kept, or its guards end it
	free   chan string   // keyspaces of two shards
	whole  chan string   // of one
}

func onVitess() bool { return os.Getenv("HUBBUB_TEST_DB") == "vitess" }

// Sharded and Unsharded give an empty keyspace, of two shards or of one, in the
// Vitess that the tests of this binary share. Without HUBBUB_TEST_DB=vitess there
// is none, and the test is skipped.
func Sharded(t testing.TB) *MySQLServer   { return vitessAlone(t, &sharedVitess.free) }
func Unsharded(t testing.TB) *MySQLServer { return vitessAlone(t, &sharedVitess.whole) }

func vitessAlone(t testing.TB, free *chan string) *MySQLServer {
	t.Helper()
	onVitessAlone(t)
	return vitessKeyspace(t, free)
}

func onVitessAlone(t testing.TB) {
	t.Helper()
	if !onVitess() {
		t.Skip("runs on Vitess alone: HUBBUB_TEST_DB=vitess")
	}
}

// vitessKeyspace gives an empty keyspace, one of those that are free.
func vitessKeyspace(t testing.TB, free *chan string) *MySQLServer {
	t.Helper()
	v := &sharedVitess
	v.once.Do(func() {
		names := make([]string, keyspaces)
		v.free, v.whole = make(chan string, keyspaces), make(chan string, 1)
		for i := range names {
			names[i] = "t" + strconv.Itoa(i)
			v.free <- names[i]
		}
		v.whole <- whole
		v.server = newVitess(t, func(p *Process) {
			p.Start()
			p.t = nil // it outlives the test
		}, names)
	})
	if v.server == nil {
		t.Fatal("Vitess did not start for an earlier test")
	}
	name, prefix := <-*free, v.server.DSN
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Vitess said last:\n%s", v.server.lastWords())
		}
		for table := range strings.FieldsSeq(execSQL(t, prefix, "USE "+name+"; SHOW TABLES")) {
			execSQL(t, prefix, "USE "+name+"; DROP TABLE "+table)
		}
		*free <- name
	})
	return &MySQLServer{Process: foreign(t, "Vitess"), Addr: v.server.Addr, DSN: prefix + name}
}

// newVitess starts both servers with begin. The DSN lacks the keyspace: one of
// those named, each of two shards, or whole.
func newVitess(t testing.TB, begin func(*Process), names []string, args ...string) *VitessServer {
	t.Helper()
	binary := findVTCombo(t)
	beneath := newMySQLOf(t, databases["mysql"], "--log-bin", "--server-id=1", "--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--max-connections=1000")
	begin(beneath.Process)
	p := newProcess(t, "vitess", binary)
	var topology, setup, question strings.Builder
	for _, user := range []string{"vt_dba", "vt_app", "vt_appdebug", "vt_allprivs", "vt_repl", "vt_filtered", "vt_monitoring"} {
		fmt.Fprintf(&setup, "CREATE USER '%s'@'localhost'; GRANT ALL ON *.* TO '%[1]s'@'localhost' WITH GRANT OPTION;\n", user)
	}
	keyspace := func(name, vschema string, shards ...string) {
		fmt.Fprintf(&topology, `keyspaces:<name:"%s" replica_count:1 `, name)
		for _, shard := range shards {
			fmt.Fprintf(&topology, `shards:<name:"%s"> `, shard)
			fmt.Fprintf(&setup, "CREATE DATABASE `vt_%s_%s`;\n", name, shard)
			fmt.Fprintf(&question, "USE `%s/%s`; SHOW TABLES;\n", name, shard)
		}
		topology.WriteString("> ")
		dir := filepath.Join(p.dir, "schema", name)
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "vschema.json"), []byte(vschema), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		keyspace(name, schema.VSchema, "-80", "80-")
	}
	keyspace(whole, "{}", "0")
	execSQL(t, mysqlAccount+"@tcp("+beneath.Addr+")/", setup.String())
	addr := Addr(t)
	if err := vtcombo(p, beneath, binary, addr, topology.String()+`cells:"test"`, portOf(Addr(t)), portOf(Addr(t))); err != nil {
		t.Fatal(err)
	}
	p.args = append(p.args, args...) // the last of two counts
	s := &VitessServer{MySQLServer: &MySQLServer{Process: p, Addr: addr, DSN: mysqlAccount + "@tcp(" + addr + ")/"}, Beneath: beneath}
	client := Program(t, "mariadb", "mysql")
	p.ready = func() error {
		out, err := s.ask(client, question.String())
		if err != nil {
			return errors.New(out)
		}
		return nil
	}
	begin(p)
	return s
}

// ask runs statements, which may fail.
func (s *VitessServer) ask(client, sql string) (out string, err error) {
	user, password, _ := strings.Cut(mysqlAccount, ":")
	return tryClient(client, "--host=127.0.0.1", "--port="+portOf(s.Addr), "--user="+user, password, sql)
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
	user, password, _ := strings.Cut(mysqlAccount, ":")
	account := fmt.Sprintf(`{"%s": [{"Password": "%s"}]}`, user, password)
	p.env = []string{"VTDATAROOT=" + root}
	p.args = []string{
		"--port", web, "--bind-address", "127.0.0.1", "--grpc-port", grpc,
		"--mysql-server-port", portOf(addr), "--mysql-server-bind-address", "127.0.0.1",
		"--mysql-auth-server-impl", "static", "--mysql-auth-server-static-string", account,
		"--queryserver-config-transaction-timeout", strconv.Itoa(transactionSeconds) + "s",
		"--db-charset", "utf8mb4", "--db-app-user", "vt_dba", "--db-dba-user", "vt_dba", "--db-socket", socket,
		"--mycnf-server-id", "1", "--mycnf-socket-file", socket,
		"--proto-topo", topology, "--schema-dir", filepath.Join(p.dir, "schema"),
		"--dbddl-plugin", "vttest", "--enable-direct-ddl=true", "--transaction-mode", "MULTI",
		"--log-level", "warn", "--sql-max-length-errors", "4096", "--tablet-refresh-interval", "10s", "--tablet-types-to-wait", "PRIMARY",
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

// findVTCombo returns what scripts/install-vtcombo has built. To build it takes
// minutes, so a test is left out without it even with CI=true, unless Vitess was
// asked for.
func findVTCombo(t testing.TB) string {
	t.Helper()
	const why = "Vitess is not there: run scripts/install-vtcombo"
	cache, err := os.UserCacheDir()
	if err == nil {
		found, _ := filepath.Glob(filepath.Join(cache, "hubbub", "vitess-*", "vtcombo")) // the pattern is right
		if len(found) > 0 {
			return slices.MaxFunc(found, func(a, b string) int { return built(a).Compare(built(b)) })
		}
	}
	if onVitess() {
		t.Fatal(why)
	}
	t.Skip("LEFT OUT: " + why)
	return ""
}

func built(path string) (at time.Time) {
	if info, err := os.Stat(path); err == nil {
		at = info.ModTime()
	}
	return at
}
