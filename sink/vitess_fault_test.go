package sink

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/internal/contact"
	"github.com/hubbub-chat/hubbub/schema"
)

// vtgate and all its tablets are killed while messages come, and come back, and
// then the MySQL beneath: the store is silent or refuses meanwhile, and answers
// again; what was acknowledged is there, each message once and none out of place.
func TestVitessKilled(t *testing.T) {
	server := backends.OwnVitess(t)
	core, logs := observer.New(zap.InfoLevel)
	m, err := OpenMySQL(t.Context(), MySQLConfig{DSN: server.DSN, Log: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	const rooms = 8
	d := NewDirect(m, DirectConfig{MaxAge: time.Hour})
	var all [rooms][]*schema.Message
	for r := range all {
		all[r] = chain(fmt.Sprint("room", r), 300)
		for i, msg := range all[r] {
			msg.Key = fmt.Sprint("k", i)
		}
	}
	var acked, sent atomic.Int64
	send := func(from, to int) {
		for i := from; i < to; i++ {
			for r := range all {
				if err := d.Submit(all[r][i], func(err error) {
					if err != nil {
						t.Errorf("message %d: %v", i, err)
					}
					acked.Add(1)
				}); err != nil {
					t.Fatal(err)
				}
				sent.Add(1)
			}
		}
	}
	settled := func() bool { return acked.Load() == sent.Load() }
	next := 0
	for _, c := range []struct {
		name        string
		kill, start func()
	}{
		{"vtcombo", server.Kill9, server.Start},
		{"the MySQL beneath", server.Beneath.Kill9, server.Beneath.Start},
		{"both", func() { server.Kill9(); server.Beneath.Kill9() }, func() { server.Beneath.Start(); server.Start() }},
	} {
		before := logs.Len()
		send(next, next+40)
		c.kill() // some are under way
		send(next+40, next+60)
		eventually(t, "without "+c.name+" the store does not take writes", func() bool {
			state := m.Contact().State()
			return state == contact.Silent || state == contact.Refuses
		})
		t.Logf("without %s: %s, %v", c.name, m.Contact().State(), m.Contact().Status().Err)
		c.start()
		send(next+60, next+80)
		eventually(t, "with "+c.name+" all is acknowledged", settled)
		eventually(t, "with "+c.name+" the store answers", func() bool { return m.Contact().State() == contact.Answers })
		next += 80
		if n := logs.Len() - before; n > 8 {
			t.Errorf("%s: %d lines: %v", c.name, n, logs.All()[before:])
		}
	}
	mustClose(t, d)
	for r := range all {
		var rows, distinct int
		if err := m.reads.QueryRow(`SELECT COUNT(*), COUNT(DISTINCT seq) FROM messages WHERE room = ? AND dup_of = 0`, all[r][0].Room).Scan(&rows, &distinct); err != nil || rows != next || distinct != next {
			t.Errorf("%s: %d rows, %d of them different, want %d; %v", all[r][0].Room, rows, distinct, next, err)
		}
	}
	checkStore(t, m.Store)
	account, _, _ := strings.Cut(server.DSN, "@")
	for shard, upTo := range map[string]int{"-80": rooms * next, "80-": rooms * next} { // no shard has all
		dsn := fmt.Sprintf("%s@tcp(%s)/vt_hubbub_%s", account, server.Beneath.Addr, shard)
		if n := ask(t, &backends.MySQLServer{DSN: dsn}, `SELECT COUNT(*) FROM messages`); n == "0" || n == fmt.Sprint(upTo) {
			t.Errorf("shard %s has %s rows", shard, n)
		}
	}
}

// Servers beneath vtgate whose SQL mode is another: Vitess asks for a strict one
// itself, and one in which its own SQL means something else is refused.
func TestVitessModesBeneath(t *testing.T) {
	server := backends.OwnVitess(t)
	account, _, _ := strings.Cut(server.DSN, "@")
	beneath := &backends.MySQLServer{DSN: fmt.Sprintf("%s@tcp(%s)/", account, server.Beneath.Addr)}
	mode := func(t *testing.T, m string) {
		admin(t, beneath, `SET GLOBAL sql_mode = '`+m+`'`)
		server.Restart() // its connections are from before
	}
	for i, m := range []string{"STRICT_TRANS_TABLES,ANSI_QUOTES,PIPES_AS_CONCAT", "STRICT_ALL_TABLES"} {
		t.Run(m, func(t *testing.T) {
			mode(t, m)
			keepsOdd(t, openMySQLAt(t, server.DSN), fmt.Sprint(i))
			keepsOdd(t, openMySQLAt(t, server.Whole), fmt.Sprint(i))
		})
	}
	mode(t, "STRICT_TRANS_TABLES,NO_BACKSLASH_ESCAPES")
	for _, dsn := range []string{server.DSN, server.Whole} {
		if _, err := OpenMySQL(t.Context(), MySQLConfig{DSN: dsn}); err == nil || !strings.Contains(err.Error(), "NO_BACKSLASH_ESCAPES") {
			t.Errorf("open: %v", err)
		}
	}
}

// A message may be as large as what vtgate sends to a tablet at once, whatever
// max_allowed_packet says: a larger one would be tried for ever.
func TestVitessLargestMessage(t *testing.T) {
	server := backends.OwnVitess(t)
	m := openMySQLAt(t, server.DSN)
	if size := m.MaxSize(); size != 16<<20-64<<10 {
		t.Errorf("MaxSize is %d", size)
	}
	largest := &schema.Message{Room: "r", Offset: 1, Data: []byte(strings.Repeat(`'`, m.MaxSize()-100))}
	eventually(t, "the largest message is stored", func() bool { // a busy machine may need longer than an answer is waited for
		err := m.Append(t.Context(), []*schema.Message{largest})
		if err != nil && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrBusy) {
			t.Fatal(err)
		}
		return err == nil
	})
	if page, err := m.After(t.Context(), "r", 0, 0, 10, 1); err != nil || len(page) != 1 || !bytes.Equal(page[0].Data, largest.Data) {
		t.Errorf("%d messages, %v", len(page), err)
	}
	larger := &schema.Message{Room: "r", Offset: 2, Prev: 1, Data: make([]byte, m.MaxSize())}
	if err := m.Append(t.Context(), []*schema.Message{larger}); !errors.Is(err, ErrData) {
		t.Errorf("append: %v, want ErrData", err)
	}
}

// Pages that are larger than what Vitess answers at once are read in parts, and
// are the same pages.
func TestVitessSmallAnswers(t *testing.T) {
	server := backends.OwnVitess(t, "--queryserver-config-max-result-size=30")
	m, err := OpenMySQL(t.Context(), MySQLConfig{DSN: server.DSN})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	all := chain("r", 100)
	for part := range slices.Chunk(all, 20) {
		mustAppend(t, m.Store, part...)
	}
	if rows, err := m.reads.QueryContext(t.Context(), m.dialect.after, "r", 0, 1<<60, 31); err == nil {
		_ = rows.Close()
		t.Fatal("Vitess answers with 31 rows")
	}
	for _, limit := range []int{1, 30, 31, 70, 99, 100, 101, 1000} {
		want := all[:min(limit, 100)]
		page, err := m.After(t.Context(), "r", 0, 0, limit, 1<<20)
		if diff := cmp.Diff(want, page); err != nil || diff != "" {
			t.Errorf("limit %d: %v %s", limit, err, diff)
		}
		page, err = m.Before(t.Context(), "r", 0, limit, 1<<20)
		slices.Reverse(page)
		if diff := cmp.Diff(all[100-len(want):], page); err != nil || diff != "" {
			t.Errorf("limit %d, backwards: %v %s", limit, err, diff)
		}
	}
	for _, fit := range []int{0, 1, 29, 30, 31, 59, 60, 61, 62} { // chain's messages have 100 bytes
		page, err := m.After(t.Context(), "r", 0, 0, 1000, fit*100+50)
		if want := max(fit, 1); err != nil || len(page) != want {
			t.Errorf("%d fit: %d, %v", want, len(page), err)
		}
	}
}

// A DSN that names no keyspace but what to talk to, as PlanetScale has it where
// there are several keyspaces: vtgate finds the tables.
func TestVitessPrimary(t *testing.T) {
	server := backends.OwnVitess(t)
	if _, _, err := MigrateMySQL(t.Context(), MySQLConfig{DSN: server.DSN}); err != nil {
		t.Fatal(err)
	}
	dsn := strings.TrimSuffix(server.DSN, "hubbub") + "@primary"
	for range 2 {
		if from, to, err := MigrateMySQL(t.Context(), MySQLConfig{DSN: dsn}); err != nil || from != to {
			t.Fatalf("migrate: from %d to %d, %v", from, to, err)
		}
	}
	m := openMySQLAt(t, dsn)
	if !m.Sharded() {
		t.Error("nobody knows how many shards these are, and they are taken for one")
	}
	keepsOdd(t, m, "r")
	if page, err := openMySQLAt(t, server.DSN).After(t.Context(), "r", 0, 0, 1000, 1<<20); err != nil || len(page) != len(odd) {
		t.Errorf("%d messages, %v", len(page), err)
	}
}
