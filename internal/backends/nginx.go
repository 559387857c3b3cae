package backends

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// NginxServer is nginx with its workers.
type NginxServer struct {
	*Process
	Addr string
}

// Nginx starts nginx with files in a directory that is its prefix: the
// configuration nginx.conf, and what it includes, by their relative paths. Relative
// paths in it, as of logs, are there too (logs/ exists). It has started when it
// listens on addr.
func Nginx(t testing.TB, addr string, files map[string]string) *NginxServer {
	t.Helper()
	s := &NginxServer{Process: newProcess(t, "nginx", Program(t, "nginx")), Addr: addr}
	writeFiles(t, s.dir, files)
	s.args = []string{"-p", s.dir, "-c", filepath.Join(s.dir, "nginx.conf"), "-g", "daemon off;"}
	s.ready = func() error {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return err
		}
		return c.Close()
	}
	s.untilEnd()
	return s
}

func writeFiles(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "logs"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
