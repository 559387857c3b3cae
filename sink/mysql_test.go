package sink

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/schema"
)

// openMySQL opens a store in an empty database of a real server.
func openMySQL(t testing.TB) *MySQL {
	t.Helper()
	return openMySQLAt(t, backends.MySQL(t).DSN)
}

func openMySQLAt(t testing.TB, dsn string) *MySQL {
	t.Helper()
	m, err := OpenMySQL(t.Context(), MySQLConfig{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		checkStore(t, m.Store)
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// A setting that cannot work is one clear line, and never the password.
func TestOpenMySQLErrors(t *testing.T) {
	dsn := backends.MySQL(t).DSN
	account, rest, _ := strings.Cut(dsn, "@")
	user, _, _ := strings.Cut(account, ":")
	server, _, _ := strings.Cut(rest, "/")
	for _, c := range []struct{ name, dsn, want string }{
		{"wrong password", user + ":sesame@" + rest, "Access denied"},
		{"unreachable", account + ":sesame@tcp(127.0.0.1:1)/x", "connection refused"},
		{"unknown database", account + "@" + server + "/sesam", "sesam"},
		{"no database", account + "@" + server + "/", "names no database"},
		{"no slash", "u:sesame@tcp(127.0.0.1:1)", "missing the slash"},
		{"address without protocol", "u:sesame@127.0.0.1/x", "means nothing"},
		{"no at sign", "u:sesame/x", "means nothing"},
		{"a URL", "mysql://u:sesame@127.0.0.1:1/x", "means nothing"},
		{"bad parameter", "u:sesame@tcp(127.0.0.1:1)/x?timeout=sesame", "means nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := OpenMySQL(t.Context(), MySQLConfig{DSN: c.dsn})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("error %q, want one line with %q", err, c.want)
			}
			if strings.Contains(err.Error(), "sesame") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

// Any number of processes may start on an empty database at once.
func TestMySQLStartsTogether(t *testing.T) {
	dsn := backends.MySQL(t).DSN
	var wg sync.WaitGroup
	stores := make([]*MySQL, 6)
	for i := range stores {
		wg.Go(func() {
			var err error
			if stores[i], err = OpenMySQL(context.Background(), MySQLConfig{DSN: dsn, ReadConns: 1}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, s := range stores {
		if s == nil {
			continue
		}
		if s.Epoch() != stores[0].Epoch() || s.Epoch() == "" {
			t.Errorf("epochs %q and %q", s.Epoch(), stores[0].Epoch())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// newestTables is the version that a migration leads to.
const newestTables = 2

func TestMigrateMySQL(t *testing.T) {
	server := backends.MySQL(t)
	cfg := MySQLConfig{DSN: server.DSN}
	for i, want := range []int64{0, newestTables, newestTables} {
		if from, to, err := MigrateMySQL(t.Context(), cfg); err != nil || from != want || to != newestTables {
			t.Fatalf("run %d: from %d to %d, %v", i, from, to, err)
		}
	}
	m := openMySQLAt(t, server.DSN)
	t.Run("of a newer program", func(t *testing.T) {
		mustExec(t, m, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)`)
		if _, err := OpenMySQL(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "newer") {
			t.Errorf("open: %v", err)
		}
		if _, _, err := MigrateMySQL(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "newer") {
			t.Errorf("migrate: %v", err)
		}
	})
	t.Run("cut off in the middle", func(t *testing.T) {
		mustExec(t, m, `DROP TABLE sends, goose_db_version`)
		if _, err := OpenMySQL(t.Context(), cfg); !errors.Is(err, ErrOldTables) {
			t.Errorf("open: %v, want ErrOldTables", err)
		}
		if _, to, err := MigrateMySQL(t.Context(), cfg); err != nil || to != newestTables {
			t.Errorf("migrate: %v", err)
		}
		openMySQLAt(t, server.DSN)
	})
}

func mustExec(t testing.TB, m *MySQL, statement string, args ...any) {
	t.Helper()
	if _, err := m.writes.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
}

// Whatever makes a batch fail, nothing of it is stored, or in a sharded database
// nothing of the bad message's shard; and the error says whether it ever can be.
func TestMySQLAppendFailsWhole(t *testing.T) {
	m := openMySQLAt(t, backends.MySQL(t).DSN+"?readTimeout=2m&writeTimeout=2m") // 17 MB take a busy machine longer than usual
	const room = "good"                                                          // each test's, beside its name
	good := func(name string) []*schema.Message {
		batch := chain(room+name, 700)
		for i, msg := range batch {
			if i%5 == 0 {
				msg.Key = string(rune('a' + i))
			}
		}
		return batch
	}
	long := strings.Repeat("x", 256)
	for _, c := range []struct {
		name string
		bad  schema.Message
	}{
		{"offset 0", schema.Message{Room: room}},
		{"offset beyond int64", schema.Message{Room: room, Offset: 1 << 63}},
		{"prev not before offset", schema.Message{Room: room, Offset: 5, Prev: 5}},
		{"room empty", schema.Message{Offset: 1}},
		{"room too long", schema.Message{Room: long, Offset: 1}},
		{"room not UTF-8", schema.Message{Room: "\xff", Offset: 1}},
		{"user too long", schema.Message{Room: room, Offset: 1, User: long}},
		{"client too long", schema.Message{Room: room, Offset: 1, Client: long}},
		{"key too long", schema.Message{Room: room, Offset: 1, Key: long}},
		{"larger than a packet", schema.Message{Room: room, Offset: 1, Data: make([]byte, 17<<20)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			batch, inRoom := good(c.name), c.bad.Room == room
			if inRoom {
				c.bad.Room = batch[0].Room
			}
			var err error
			for range 5 { // Vitess ends a transaction that takes it longer
				err = m.Append(t.Context(), append(batch[:len(batch):len(batch)], &c.bad))
				if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrBusy) {
					break
				}
			}
			if !errors.Is(err, ErrData) || errors.Is(err, ErrBusy) || errors.Is(err, ErrUnavailable) {
				t.Errorf("error %v, want ErrData", err)
			}
			count := func(table string) (n int) {
				if err := m.reads.QueryRow(`SELECT count(*) FROM `+table+` WHERE room = ?`, batch[0].Room).Scan(&n); err != nil {
					t.Fatal(err)
				}
				return n
			}
			rows, sends := count("messages"), count("sends")
			if others := m.Sharded() && !inRoom && rows == 700 && sends == 140; !others && (rows != 0 || sends != 0) {
				t.Errorf("%d messages and %d sends are stored, want none", rows, sends)
			}
			var bad int
			if err := m.reads.QueryRow(`SELECT count(*) FROM messages WHERE room = ?`, c.bad.Room).Scan(&bad); !inRoom && (err != nil || bad != 0) {
				t.Errorf("%d messages are in the bad message's room, %v", bad, err)
			}
		})
	}
	mustAppend(t, m.Store, good("")...)
}

// A database that goes away is an error of its own, and the store goes on
// when it is back.
func TestMySQLGoesAway(t *testing.T) {
	server := backends.OwnMySQL(t)
	m := openMySQLAt(t, server.DSN)
	mustAppend(t, m.Store, chain("r", 3)...)
	server.Kill9()
	if err := m.Append(t.Context(), chain("r", 4)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("append: %v, want ErrUnavailable", err)
	}
	if _, err := m.Last(t.Context(), "r"); err == nil {
		t.Error("Last: no error")
	}
	if err := m.Ping(t.Context()); err == nil {
		t.Error("Ping: no error")
	}
	server.Start()
	mustAppend(t, m.Store, chain("r", 5)...)
	if last, err := m.Last(t.Context(), "r"); err != nil || last != 50 {
		t.Errorf("Last = %d, %v", last, err)
	}
	if got := m.Stats().Queries; got != 2 {
		t.Errorf("%d queries are counted, want 2", got)
	}
}

// A server that would shorten values is told not to.
func TestMySQLIsStrict(t *testing.T) {
	server := backends.OwnMySQL(t, "--sql-mode=")
	m := openMySQLAt(t, server.DSN)
	long := schema.Message{Room: "r", Offset: 1, User: strings.Repeat("x", 256), Data: []byte(`1`)}
	if err := m.Append(t.Context(), []*schema.Message{&long}); !errors.Is(err, ErrData) {
		t.Errorf("append: %v, want ErrData", err)
	}
}

// With authorities of its own, a store trusts them and nobody else.
func TestMySQLOverTLS(t *testing.T) {
	dir := t.TempDir()
	roots := writeCertificate(t, dir)
	server := backends.OwnMySQL(t, "--ssl-cert="+dir+"/cert.pem", "--ssl-key="+dir+"/key.pem")
	m, err := OpenMySQL(t.Context(), MySQLConfig{DSN: server.DSN, RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var name, cipher string
	if err := m.reads.QueryRow(`SHOW STATUS LIKE 'Ssl_cipher'`).Scan(&name, &cipher); err != nil || cipher == "" {
		t.Errorf("cipher %q, %v", cipher, err)
	}
	for _, cfg := range []MySQLConfig{{DSN: server.DSN + "?tls=true"}, {DSN: server.DSN, RootCAs: x509.NewCertPool()}} {
		if _, err := OpenMySQL(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("a certificate of nobody known: %v", err)
		}
	}
}

// writeCertificate makes one for 127.0.0.1, and who believes it.
func writeCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: certificate}, "key.pem": {Type: "PRIVATE KEY", Bytes: private},
	} {
		text := pem.EncodeToMemory(block)
		roots.AppendCertsFromPEM(text) // the key is none
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return roots
}
