package backends

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// RedisServer is one redis-server. What it holds is gone when it ends, unless
// its arguments say otherwise.
type RedisServer struct {
	*Process
	Addr string
}

// Redis starts a server, with further arguments as redis-server takes them
// ("--appendonly", "yes"), or gives the one in HUBBUB_TEST_REDIS where there are
// none; that one cannot be stopped, see OwnRedis.
func Redis(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	if addr := os.Getenv("HUBBUB_TEST_REDIS"); addr != "" && len(args) == 0 {
		return &RedisServer{Process: foreign(t, "redis"), Addr: addr}
	}
	return OwnRedis(t, args...)
}

// OwnRedis starts a server of the test's own.
func OwnRedis(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	s := newRedis(t, "redis", args...)
	s.untilEnd()
	return s
}

// newRedis is a server that does not run yet.
func newRedis(t testing.TB, name string, args ...string) *RedisServer {
	t.Helper()
	path := Program(t, "redis-server")
	s := &RedisServer{Process: newProcess(t, name, path), Addr: Addr(t)}
	s.args = append([]string{
		"--port", portOf(s.Addr), "--bind", "127.0.0.1", "--dir", s.dir, "--save", "",
		"--maxmemory-policy", "noeviction", "--client-output-buffer-limit", "pubsub 256mb 64mb 60",
		"--enable-debug-command", "yes",
	}, args...)
	s.ready = s.answers
	return s
}

// answers returns nil when the server serves, or would if it were told a
// password.
func (s *RedisServer) answers() error {
	_, err := askRedis(s.Addr, "PING")
	if err != nil && strings.Contains(err.Error(), "NOAUTH") {
		return nil
	}
	return err
}

// Do sends a command and returns its reply: text as it is, elements of arrays
// one a line.
func (s *RedisServer) Do(args ...string) string {
	s.t.Helper()
	reply, err := askRedis(s.Addr, args...)
	if err != nil {
		s.t.Fatalf("%v: %v", args, err)
	}
	return reply
}

// Synced waits until a replica has all that the server had written by now.
// (WAIT would be about the writes of its own connection, and there are none.)
func (s *RedisServer) Synced() {
	s.t.Helper()
	field := func(name string) (n int64) {
		for line := range strings.Lines(s.Do("INFO", "replication")) {
			if _, value, ok := strings.Cut(line, name); ok && n == 0 {
				value, _, _ = strings.Cut(strings.TrimSpace(value), ",")
				n, _ = strconv.ParseInt(value, 10, 64) // 0: it is not known yet
			}
		}
		return n
	}
	written := field("master_repl_offset:")
	waitFor(s.t, "a replica has everything", func() error {
		if got := field(",offset="); got < written {
			return fmt.Errorf("it is at %d of %d", got, written)
		}
		return nil
	})
}
