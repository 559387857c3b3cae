package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hubbub-chat/hubbub/internal/backends"
)

// redisScene is a node with Redis and MySQL.
func redisScene(t *testing.T) *scene {
	const snapshot = "snapshot"
	redis := backends.OwnRedis(t, "--appendonly", "yes", "--appendfsync", "always", "--save", "3600 1000000", "--dbfilename", snapshot)
	user := func(rules ...string) { redis.Do(append([]string{"ACL", "SETUSER", "hubbub"}, rules...)...) }
	permit := func() { user("on", "resetpass", ">sesame", "allkeys", "allchannels", "allcommands") }
	config := func(name, value string) func() { return func() { redis.Do("CONFIG", "SET", name, value) } }
	permit()
	dsn := backends.MySQL(t).DSN
	h := start(t, func(o *options) {
		o.failing = true
		o.shared = newLedger() // what a stopped Redis loses is for other tests
		o.Redis, o.RedisPrefix, o.MySQL, o.MySQLConns = "redis://hubbub:sesame@"+redis.Addr, "test", dsn, 4
	})
	nowhere, port, err := net.SplitHostPort(backends.Addr(t))
	if err != nil {
		t.Fatal(err)
	}
	nothing := func() {}
	return &scene{h, map[string]cause{
		"as it should be":                           {nothing, nothing},
		"full: `maxmemory`":                         {config("maxmemory", "100kb"), config("maxmemory", "0")},
		"too few replicas: `min-replicas-to-write`": {config("min-replicas-to-write", "1"), config("min-replicas-to-write", "0")},
		"a snapshot failed: `stop-writes-on-bgsave-error`": {
			func() {
				// A file does not replace a directory that has something in it.
				if err := os.MkdirAll(filepath.Join(redis.Dir(), snapshot, "x"), 0o700); err != nil {
					t.Fatal(err)
				}
				redis.Do("BGSAVE")
				eventually(t, "it fails", func() bool { return strings.Contains(redis.Do("INFO", "persistence"), "rdb_last_bgsave_status:err") })
			},
			func() {
				if err := os.RemoveAll(filepath.Join(redis.Dir(), snapshot)); err != nil {
					t.Fatal(err)
				}
				redis.Do("BGSAVE")
			},
		},
		"a replica now, and no other primary at its address": {
			func() { redis.Do("REPLICAOF", nowhere, port) }, func() { redis.Do("REPLICAOF", "NO", "ONE") },
		},
		"the user may not use the channels any more": {func() { user("resetchannels") }, permit},
		"another password": {
			func() {
				user("resetpass", ">another")
				redis.Do("CLIENT", "KILL", "USER", "hubbub")
			},
			permit,
		},
		"stopped, hanging, or out of reach": {redis.Kill9, func() {
			redis.Start() // the user is gone with it
			permit()
		}},
	}}
}
