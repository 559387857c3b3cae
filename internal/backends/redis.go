package backends

import (
	"os"
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
