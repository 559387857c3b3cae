package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hubbub-chat/hubbub/internal/backends"
)

// front is nginx with the nginx.conf that is shipped, byte for byte, and files of
// the test's own where a site has its own.
type front struct {
	*backends.NginxServer
	t      testing.TB
	status string // address of its counters
}

// site is what differs from the examples in deploy/nginx/hubbub.
type site struct {
	nodes  []string // addresses
	site   string   // replaces what sources, limits and proxies there are
	listen string   // replaces the listen line; %s stands for the address
	files  map[string]string
}

const defaultSite = `split_clients "$remote_addr:$remote_port" $hubbub_source { * ""; }
geo $hubbub_unlimited { default 0; 127.0.0.0/8 1; }
`

func startFront(t testing.TB, s site) *front {
	t.Helper()
	f := &front{t: t, status: backends.Addr(t)}
	addr := backends.Addr(t)
	if s.site == "" {
		s.site = defaultSite
	}
	if s.listen == "" {
		s.listen = "listen %s reuseport backlog=4096;"
	}
	var nodes strings.Builder
	for _, addr := range s.nodes {
		fmt.Fprintf(&nodes, "server %s max_fails=0;\n", addr)
	}
	files := map[string]string{
		"nginx.conf":         read(t, "nginx.conf"),
		"hubbub/main.conf":   workersUser() + "pid logs/nginx.pid;\nerror_log logs/error.log crit;\n",
		"hubbub/site.conf":   "access_log logs/access.log hubbub buffer=64k flush=100ms;\n" + s.site,
		"hubbub/nodes.conf":  nodes.String(),
		"hubbub/listen.conf": strings.ReplaceAll(s.listen, "%s", addr),
		"hubbub/status.conf": "listen " + f.status + ";",
	}
	for name, text := range s.files {
		files[name] = text
	}
	f.NginxServer = backends.Nginx(t, addr, files)
	return f
}

// workersUser has the workers run as who tests: the directory is nobody else's.
func workersUser() string {
	if os.Getuid() == 0 {
		return "user root;\n"
	}
	return ""
}

// read returns a file of the source tree.
func read(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// request is a line of the access log.
type request struct {
	Client     string
	Path       string
	Status     int
	Node       string
	NodeStatus string `json:"node_status"`
	Limited    string
}

// requests returns the access log as soon as it has a line that is looked for.
func (f *front) requests(what string, ok func(request) bool) (lines []request, text string) {
	f.t.Helper()
	eventually(f.t, "the access log has "+what, func() bool {
		log, err := os.ReadFile(filepath.Join(f.Dir(), "logs", "access.log"))
		if err != nil {
			return false
		}
		lines, text = nil, string(log)
		found := false
		for line := range strings.Lines(text) {
			var r request
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				f.t.Fatalf("%q: %v", line, err)
			}
			lines = append(lines, r)
			found = found || ok(r)
		}
		return found
	})
	return lines, text
}
