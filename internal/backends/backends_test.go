package backends

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/internal/leaks"
)

// childEnv makes this binary start servers and wait to be killed.
const childEnv = "HUBBUB_BACKENDS_TEST_CHILD"

func TestMain(m *testing.M) { leaks.Main(m) }

func listens(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

func TestRedis(t *testing.T) {
	s := OwnRedis(t)
	s.Do("SET", "a", "1")
	s.Restart()
	if got := s.Do("EXISTS", "a"); got != "0" {
		t.Errorf("without persistence %q keys survive a restart", got)
	}
	s.Kill9()
	if listens(s.Addr) {
		t.Error("it listens after SIGKILL")
	}
	s.Start()
	s.Pause()
	if got, err := askRedisWithin(s.Addr, 200*time.Millisecond); err == nil {
		t.Errorf("while paused it says %q", got)
	}
	s.Continue()
	if got := s.Do("PING"); got != "PONG" {
		t.Errorf("PING: %q", got)
	}
}

func askRedisWithin(addr string, limit time.Duration) (string, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(limit))
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return "", err
	}
	reply := make([]byte, 16)
	n, err := c.Read(reply)
	return string(reply[:n]), err
}

func TestRedisKeeps(t *testing.T) {
	s := Redis(t, "--appendonly", "yes", "--requirepass", "secret")
	if _, err := askRedis(s.Addr, "SET", "a", "1"); err == nil || !strings.Contains(err.Error(), "NOAUTH") {
		t.Errorf("without the password: %v", err)
	}
}

func TestRedisCluster(t *testing.T) {
	c := RedisCluster(t, 3, 1)
	if got := len(c.Addrs()); got != 4 {
		t.Fatalf("%d nodes", got)
	}
	c.Primaries[0].Kill9()
	waitFor(t, "the replica takes over", func() error {
		if role := c.Replicas[0].Do("ROLE"); !strings.HasPrefix(role, "master") {
			return fmt.Errorf("it is a %s", role)
		}
		return nil
	})
}

func TestSentinel(t *testing.T) {
	s := Sentinel(t)
	s.Primary.Kill9()
	waitFor(t, "the Sentinels name the replica", func() error {
		for _, one := range s.Sentinels {
			if got := one.Do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", s.Name); !strings.Contains(got, portOf(s.Replica.Addr)) {
				return fmt.Errorf("they name %s", got)
			}
		}
		return nil
	})
}

func TestMySQLShared(t *testing.T) {
	a, b := MySQL(t), MySQL(t)
	if a.DSN == b.DSN {
		t.Errorf("two tests have the database %s", a.DSN)
	}
	if a.Addr != b.Addr {
		t.Errorf("there are two servers, %s and %s", a.Addr, b.Addr)
	}
	prefix, name := a.DSN[:strings.LastIndex(a.DSN, "/")+1], a.DSN[strings.LastIndex(a.DSN, "/")+1:]
	execSQL(t, prefix, "CREATE TABLE "+name+".t (a INT)")
}

func TestMySQLKill9(t *testing.T) {
	s := OwnMySQL(t)
	prefix, _ := strings.CutSuffix(s.DSN, "hubbub")
	execSQL(t, prefix, "CREATE TABLE hubbub.t (a INT PRIMARY KEY); INSERT INTO hubbub.t VALUES (7)")
	s.Kill9()
	s.Start()
	if got := execSQL(t, prefix, "SELECT a FROM hubbub.t"); got != "7\n" {
		t.Errorf("after SIGKILL the table holds %q", got)
	}
	s.Restart()
}

func TestKafka(t *testing.T) {
	s := OwnKafka(t)
	s.Kill9()
	s.Start()
	s.Restart()
}

func TestNginx(t *testing.T) {
	addr := Addr(t)
	s := Nginx(t, addr, map[string]string{
		"nginx.conf":  "worker_processes 2; pid logs/nginx.pid; error_log stderr; events {}\nhttp { access_log logs/access.log; include sub/a.conf; }\n",
		"sub/a.conf":  "server { listen " + addr + "; location / { return 200 'hello'; } }\n",
		"other/b.txt": "",
	})
	get := func() string {
		t.Helper()
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		r, err := client.Get("http://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		return r.Status
	}
	if got := get(); got != "200 OK" {
		t.Error(got)
	}
	s.Restart()
	get()
	s.Kill9() // its workers too
	if listens(addr) {
		t.Error("a worker listens after SIGKILL")
	}
}

// TestEndsWithTheTests kills a test binary that runs servers, among them nginx
// with its workers.
func TestEndsWithTheTests(t *testing.T) {
	Program(t, "nginx")
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.v")
	cmd.Env = append(os.Environ(), childEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var seen []byte
	said := regexp.MustCompile(`running (\S+) (\S+) (\S+) (\S+)\n`)
	for buf := make([]byte, 4096); !said.Match(seen); {
		n, err := out.Read(buf)
		seen = append(seen, buf[:n]...)
		if err != nil {
			t.Fatalf("%v: %s", err, seen)
		}
	}
	m := said.FindSubmatch(seen)
	addrs, dirs := []string{string(m[1]), string(m[2])}, []string{string(m[3]), string(m[4])}
	for _, addr := range addrs {
		if !listens(addr) {
			t.Errorf("nobody listens on %s", addr)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	waitFor(t, "the servers and their directories are gone", func() error {
		for _, addr := range addrs {
			if listens(addr) {
				return fmt.Errorf("%s is served", addr)
			}
		}
		for _, dir := range dirs {
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				return fmt.Errorf("%s: %v", dir, err)
			}
		}
		return nil
	})
}

func TestChild(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		t.Skip("only as a child of TestEndsWithTheTests")
	}
	addr := Addr(t)
	n := Nginx(t, addr, map[string]string{
		"nginx.conf": "worker_processes 2; pid logs/nginx.pid; error_log stderr; events {}\nhttp { access_log off; server { listen " + addr + "; } }\n",
	})
	r := OwnRedis(t)
	fmt.Printf("running %s %s %s %s\n", addr, r.Addr, n.Dir(), r.Dir())
	time.Sleep(time.Minute)
}

func TestPorts(t *testing.T) {
	seen := make(map[int]bool)
	for range 100 {
		port := Port(t)
		if seen[port] {
			t.Fatalf("port %d twice", port)
		}
		seen[port] = true
		ln, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			t.Fatal(err)
		}
		_ = ln.Close()
	}
}

// TestKafkaVersion: the installation script reads the POM.
func TestKafkaVersion(t *testing.T) {
	pom, err := os.ReadFile("../../scripts/kafka/pom.xml")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`<artifactId>kafka_2.13</artifactId>\s*<version>(.*)</version>`).FindSubmatch(pom)
	if m == nil || string(m[1]) != KafkaVersion {
		t.Errorf("the POM names %q, we %s", m, KafkaVersion)
	}
}
