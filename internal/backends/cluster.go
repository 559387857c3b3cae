package backends

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// RedisClusterServers is a Redis Cluster on this machine.
type RedisClusterServers struct {
	Primaries []*RedisServer
	Replicas  []*RedisServer // Replicas[i] copies Primaries[i % len(Primaries)]
}

const slots = 16384

// RedisCluster starts a cluster of at least one primary, and so many replicas
// in all. A primary that is gone for two seconds is replaced by its replica, if at
// least three primaries vote. (After one, a busy machine would lose primaries that live.)
func RedisCluster(t testing.TB, primaries, replicas int) *RedisClusterServers {
	t.Helper()
	c := &RedisClusterServers{}
	for i := range primaries + replicas {
		s := newRedis(t, fmt.Sprintf("redis-%d", i), "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(Port(t)),
			"--cluster-node-timeout", "2000", "--repl-diskless-sync-delay", "0", "--cluster-replica-validity-factor", "0")
		s.untilEnd()
		if i < primaries {
			c.Primaries = append(c.Primaries, s)
		} else {
			c.Replicas = append(c.Replicas, s)
		}
	}
	for i, s := range c.Primaries {
		first, last := i*slots/primaries, (i+1)*slots/primaries-1
		s.Do("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		s.Do("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(first), strconv.Itoa(last))
	}
	for _, s := range c.all()[1:] {
		s.Do("CLUSTER", "MEET", "127.0.0.1", portOf(c.Primaries[0].Addr), busPort(s, c.Primaries[0]))
	}
	c.await(t, "all nodes know each other", func(s *RedisServer) bool {
		known := strings.Fields(s.Do("CLUSTER", "NODES"))
		return strings.Count(strings.Join(known, " "), " connected") >= len(c.all()) &&
			!strings.Contains(strings.Join(known, " "), "handshake")
	})
	for i, s := range c.Replicas {
		s.Do("CLUSTER", "REPLICATE", c.Primaries[i%primaries].Do("CLUSTER", "MYID"))
	}
	c.await(t, "the cluster is whole", func(s *RedisServer) bool {
		return strings.Contains(s.Do("CLUSTER", "INFO"), "cluster_state:ok") &&
			strings.Count(s.Do("CLUSTER", "NODES"), "slave") == replicas
	})
	for _, s := range c.Replicas {
		waitFor(t, "the replica copies its primary", func() error {
			if info := s.Do("INFO", "replication"); !strings.Contains(info, "master_link_status:up") {
				return errors.New("its link is down")
			}
			return nil
		})
	}
	return c
}

// busPort asks a node for the port on which the others of its cluster reach it.
func busPort(asker, of *RedisServer) string {
	asker.t.Helper()
	_, port, _ := strings.Cut(of.Do("CONFIG", "GET", "cluster-port"), "\n")
	return port
}

func (c *RedisClusterServers) all() []*RedisServer {
	return append(append([]*RedisServer(nil), c.Primaries...), c.Replicas...)
}

// Addrs are the addresses of all nodes, primaries first.
func (c *RedisClusterServers) Addrs() []string {
	var addrs []string
	for _, s := range c.all() {
		addrs = append(addrs, s.Addr)
	}
	return addrs
}

func (c *RedisClusterServers) await(t testing.TB, what string, ok func(*RedisServer) bool) {
	t.Helper()
	waitFor(t, what, func() error {
		for _, s := range c.all() {
			if !ok(s) {
				return fmt.Errorf("not as %s sees it", s.Addr)
			}
		}
		return nil
	})
}

// waitFor waits for something that no message announces.
func waitFor(t testing.TB, what string, check func() error) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s: %v", patience, what, err)
		}
	}
}
