package backends

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// SentinelServers is a Redis primary and its replica under three Sentinels,
// which replace the primary after two seconds of silence.
type SentinelServers struct {
	Name      string // of the primary, for Sentinel's clients
	Primary   *RedisServer
	Replica   *RedisServer
	Sentinels []*RedisServer
}

// Sentinel starts a primary, a replica and three Sentinels.
func Sentinel(t testing.TB) *SentinelServers {
	t.Helper()
	s := &SentinelServers{Name: "hubbub"}
	s.Primary = OwnRedis(t, "--repl-diskless-sync-delay", "0")
	s.Replica = OwnRedis(t, "--repl-diskless-sync-delay", "0", "--replicaof", "127.0.0.1 "+portOf(s.Primary.Addr))
	waitFor(t, "the replica copies its primary", func() error {
		if !strings.Contains(s.Replica.Do("INFO", "replication"), "master_link_status:up") {
			return errors.New("its link is down")
		}
		return nil
	})
	for i := range 3 {
		s.Sentinels = append(s.Sentinels, newSentinel(t, i, s))
	}
	waitFor(t, "the Sentinels know each other and the replica", func() error {
		for _, one := range s.Sentinels {
			r, err := askRedis(one.Addr, "SENTINEL", "CKQUORUM", s.Name) // an error until it is so
			if err != nil || !strings.HasPrefix(r, "OK 3 usable") {
				return fmt.Errorf("%s %w", r, err)
			}
			if r := one.Do("SENTINEL", "REPLICAS", s.Name); !strings.Contains(r, portOf(s.Replica.Addr)) {
				return errors.New("the replica is unknown")
			}
		}
		return nil
	})
	return s
}

func newSentinel(t testing.TB, i int, of *SentinelServers) *RedisServer {
	t.Helper()
	s := newRedis(t, fmt.Sprintf("sentinel-%d", i))
	conf := fmt.Sprintf("port %s\nbind 127.0.0.1\ndir %s\nsentinel monitor %s 127.0.0.1 %s 2\n"+
		"sentinel down-after-milliseconds %[3]s 2000\nsentinel failover-timeout %[3]s 3000\n",
		portOf(s.Addr), s.dir, of.Name, portOf(of.Primary.Addr))
	path := filepath.Join(s.dir, "sentinel.conf") // Sentinel writes to it
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	s.args = []string{path, "--sentinel"}
	s.untilEnd()
	return s
}

// Addrs are the addresses of the Sentinels.
func (s *SentinelServers) Addrs() []string {
	var addrs []string
	for _, one := range s.Sentinels {
		addrs = append(addrs, one.Addr)
	}
	return addrs
}
