package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	_ "github.com/go-sql-driver/mysql"

	"github.com/hubbub-chat/hubbub/internal/backends"
)

// sqliteScene is a node alone on a small disk.
func sqliteScene(t *testing.T) *scene {
	disk := backends.NewDisk(t, 24<<20)
	data := filepath.Join(disk.Dir, "data")
	h := start(t, func(o *options) { o.Data, o.failing = data, true })
	var other *sql.Conn
	db, err := sql.Open("sqlite", filepath.Join(data, "hubbub.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	lock := func(statement string) {
		if other == nil {
			if other, err = db.Conn(context.Background()); err != nil {
				t.Fatal(err)
			}
			statement = "PRAGMA busy_timeout = 60000; " + statement // the node may be writing
		}
		if _, err := other.ExecContext(context.Background(), statement); err != nil {
			t.Fatal(err)
		}
	}
	rename := func(from, to string) func() {
		return func() {
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
		}
	}
	nothing := func() {}
	return &scene{h, map[string]cause{
		"as it should be": {nothing, nothing},
		"the disk is full": {func() {
			disk.Fill(0)
			c := h.client(0)
			big := fmt.Sprintf(`{"x":"%01000d"}`, 0)
			eventually(t, "the log is full", func() bool { return c.tryPublish("filler", big).Error != nil })
			c.cut()
		}, disk.Free},
		"the data directory was removed or moved":         {rename(data, data+"x"), rename(data+"x", data)},
		"another process holds the database's write lock": {func() { lock(`BEGIN IMMEDIATE`) }, func() { lock(`ROLLBACK`) }},
	}}
}

// mysqlScene is a node alone with its messages in MySQL.
func mysqlScene(t *testing.T) *scene {
	server := backends.OwnMySQL(t)
	admin := func(statements ...string) func() {
		return func() {
			db, err := sql.Open("mysql", server.DSN)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			for _, s := range statements {
				if _, err := db.Exec(s); err != nil {
					t.Fatalf("%s: %v", s, err)
				}
			}
		}
	}
	// Who may change what is read-only would not be refused.
	admin(`CREATE USER 'app'@'%' IDENTIFIED BY 'app'`, `GRANT ALL ON hubbub.* TO 'app'@'%'`)()
	h := start(t, func(o *options) {
		o.failing = true
		o.shared = newLedger() // what a killed database did with a batch is for other tests
		o.MySQL, o.MySQLConns = fmt.Sprintf("app:app@tcp(%s)/hubbub", server.Addr), 4
	})
	nothing := func() {}
	return &scene{h, map[string]cause{
		"as it should be": {nothing, nothing},
		"read-only, and no other server at its address": {admin(`SET GLOBAL read_only = 1`), admin(`SET GLOBAL read_only = 0`)},
		"stopped, hanging, or out of reach":             {server.Kill9, server.Start},
	}}
}

// kafkaScene is a node with Redis, Kafka and MySQL.
func kafkaScene(t *testing.T) *scene {
	kafka := backends.OwnKafka(t)
	redis, dsn := backends.Redis(t).Addr, backends.MySQL(t).DSN
	h := start(t, func(o *options) {
		o.failing = true
		o.shared = newLedger() // what is under way when Kafka stops is for other tests
		o.Redis, o.RedisPrefix, o.MySQL, o.MySQLConns = "redis://"+redis, fmt.Sprintf("test%p", t), dsn, 4
		o.Kafka, o.KafkaTopic, o.KafkaCreate, o.KafkaPartitions, o.KafkaReplication = []string{kafka.Addr}, "test", true, 3, 1
	})
	nothing := func() {}
	return &scene{h, map[string]cause{
		"as it should be":                   {nothing, nothing},
		"stopped, hanging, or out of reach": {kafka.Pause, kafka.Continue},
	}}
}
