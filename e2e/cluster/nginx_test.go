package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/internal/backends"
)

// TestShippedFiles has nginx read everything as it is shipped, for plain and for
// TLS. It writes to nginx's usual places, so it wants root.
func TestShippedFiles(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("ports 80 and 443, and /run, are root's")
	}
	nginx := backends.Program(t, "nginx")
	for line := range strings.Lines(read(t, "deploy/nginx/hubbub/nodes.conf")) {
		if strings.HasPrefix(line, "server ") && !strings.HasSuffix(line, " max_fails=0;\n") {
			t.Errorf("nodes.conf: %q, see TestRollingRestart", line)
		}
	}
	for _, listen := range []string{"listen.conf", "tls.conf"} {
		text := read(t, "deploy/nginx/hubbub/"+listen)
		t.Run(listen, func(t *testing.T) {
			if !hasIPv6() {
				t.Skip("this host has no IPv6")
			}
			checkShipped(t, nginx, text)
		})
		// As the files say what to do on a host without IPv6.
		t.Run(listen+" without IPv6", func(t *testing.T) {
			without := regexp.MustCompile(`(?m)^listen \[::\].*\n`).ReplaceAllString(text, "")
			if without == text || !strings.Contains(text, "host without IPv6") || !strings.Contains(text, "[::]") {
				t.Error("no line is for IPv6, or none says what to do without it")
			}
			checkShipped(t, nginx, without)
		})
	}
}

func hasIPv6() bool {
	ln, err := net.Listen("tcp6", "[::]:0")
	if err == nil {
		_ = ln.Close()
	}
	return err == nil
}

// checkShipped has nginx check the shipped files with this listen.conf.
func checkShipped(t *testing.T, nginx, listen string) {
	t.Helper()
	if _, err := os.Stat("/run/nginx.pid"); os.IsNotExist(err) {
		t.Cleanup(func() { _ = os.Remove("/run/nginx.pid") }) // made by the check
	}
	dir := t.TempDir()
	site := filepath.Join(dir, "hubbub")
	if err := os.CopyFS(site, os.DirFS(filepath.Join(root, "deploy", "nginx", "hubbub"))); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(dir, "nginx.conf"), read(t, "nginx.conf"))
	write(filepath.Join(site, "listen.conf"), listen)
	certificate, key := selfSigned(t)
	write(filepath.Join(site, "tls", "fullchain.pem"), certificate)
	write(filepath.Join(site, "tls", "privkey.pem"), key)
	out, err := exec.Command(nginx, "-t", "-c", filepath.Join(dir, "nginx.conf")).CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("[emerg]")) || bytes.Contains(out, []byte("[warn]")) {
		t.Errorf("%v: %s", err, out)
	}
}

// TestTwoNodes: the page, the API and WebSockets come through, spread over the
// nodes.
func TestTwoNodes(t *testing.T) {
	nodes := []*node{startNode(t), startNode(t)}
	f := startFront(t, site{nodes: []string{nodes[0].addr, nodes[1].addr}})

	resp, body := get(t, "http://"+f.Addr+"/")
	if resp.StatusCode != 200 || !strings.Contains(body, "<title>") {
		t.Errorf("the page: %s", resp.Status)
	}
	if resp, _ := get(t, "http://"+f.Addr+"/metrics"); resp.StatusCode != 404 {
		t.Errorf("metrics are shown to everybody: %s", resp.Status)
	}
	if resp, _ := get(t, "http://"+f.Addr+"/readyz"); resp.StatusCode != 200 {
		t.Errorf("readyz: %s", resp.Status)
	}
	request, err := http.NewRequest("POST", "http://"+f.Addr+"/api/publish", strings.NewReader(`{"channel":"lobby","data":{"text":"hi"}}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-API-Key", apiKey)
	request.Header.Set("Content-Type", "application/json")
	resp, err = httpClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || !strings.Contains(string(answer), `"offset"`) {
		t.Errorf("the API answers %s (%v)", answer, err)
	}

	const clients = 40
	var last *client
	for range clients {
		last = dial(t, f.Addr, dialOptions{})
	}
	for i, n := range nodes {
		if got := n.metric("hubbub_connections"); math.Abs(got-clients/2) > 4 {
			t.Errorf("node %d has %v of %d connections", i, got, clients)
		}
	}
	last.call(`"subscribe":{"channel":"room"}`)
	last.call(`"publish":{"channel":"room","data":{"text":"through"}}`)
	last.push("through")

	_, body = get(t, "http://"+f.status+"/nginx_status")
	m := regexp.MustCompile(`Active connections: (\d+)`).FindStringSubmatch(body)
	if m == nil {
		t.Errorf("nginx counts %q", body)
	}
}

// TestPings: nginx waits longer than a healthy connection is ever silent.
func TestPings(t *testing.T) {
	n := startNode(t)
	f := startFront(t, site{nodes: []string{n.addr}})
	reply := dial(t, f.Addr, dialOptions{}).hello
	var connect struct{ Connect struct{ Ping int } }
	if err := json.Unmarshal([]byte(reply), &connect); err != nil || connect.Connect.Ping == 0 {
		t.Fatalf("%s: %v", reply, err)
	}
	const pong = 10 * time.Second // what an SDK, and a node, wait for
	silent := time.Duration(connect.Connect.Ping)*time.Second + pong
	for _, name := range []string{"proxy_read_timeout", "proxy_send_timeout"} {
		m := regexp.MustCompile(`(?m)^    ` + name + ` (\S+);`).FindStringSubmatch(read(t, "nginx.conf"))
		if m == nil {
			t.Fatalf("there is no %s", name)
		}
		if limit, err := time.ParseDuration(m[1]); err != nil || limit <= silent {
			t.Errorf("%s is %s (%v), and a connection may be silent for %v", name, m[1], err, silent)
		}
	}
}

// TestSecretsStayOutOfLogs: neither query nor headers are logged, not even when
// a node is down, which nginx calls an error.
func TestSecretsStayOutOfLogs(t *testing.T) {
	n := startNode(t)
	f := startFront(t, site{nodes: []string{backends.Addr(t), n.addr}})
	const secret = "SECRETSECRET"
	options := dialOptions{query: "?token=" + secret, header: http.Header{
		"Authorization": {"Bearer " + secret}, "Cookie": {"a=" + secret}, "Referer": {"http://x/?" + secret}, "User-Agent": {`it's "quoted"`},
	}}
	for range 5 {
		conn, _, err := tryDial(f.Addr, options)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	n.Kill9()
	var status refused
	if _, _, err := tryDial(f.Addr, options); !errors.As(err, &status) || status.status != 502 {
		t.Errorf("without nodes the handshake says %v", err)
	}
	lines, text := f.requests("the failure", func(r request) bool { return r.Status == 502 })
	errorLog, err := os.ReadFile(filepath.Join(f.Dir(), "logs", "error.log"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, secret) || bytes.Contains(errorLog, []byte(secret)) {
		t.Errorf("a log holds the token: %s%s", text, errorLog)
	}
	retried := 0
	for _, r := range lines {
		if r.Path != "/connection/websocket" || r.Client != "127.0.0.1" {
			t.Errorf("logged: %+v", r)
		}
		if r.Status == 101 && strings.HasPrefix(r.NodeStatus, "502, 101") {
			retried++
		}
	}
	if retried == 0 {
		t.Errorf("no handshake was tried at the dead node first: %s", text)
	}
}

// TestRealAddress: a node sees the address that nginx sees, and never one that a
// client made up.
func TestRealAddress(t *testing.T) {
	n := startNode(t, "--conns-per-ip=2")
	claim := dialOptions{header: http.Header{"X-Forwarded-For": {"203.0.113.7"}, "X-Real-Ip": {"203.0.113.7"}}}
	opened := func(f *front) (open, turnedAway int) {
		for range 4 {
			conn, _, err := tryDial(f.Addr, claim)
			if status := (refused{}); errors.As(err, &status) {
				turnedAway++
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			open++
			t.Cleanup(func() { _ = conn.Close() })
		}
		return open, turnedAway
	}
	t.Run("at the edge", func(t *testing.T) {
		if open, away := opened(startFront(t, site{nodes: []string{n.addr}})); open != 4 || away != 0 {
			t.Errorf("%d connections were opened and %d turned away: the node believed the client", open, away)
		}
	})
	t.Run("behind a proxy", func(t *testing.T) {
		f := startFront(t, site{nodes: []string{n.addr}, site: defaultSite + "set_real_ip_from 127.0.0.0/8; real_ip_header X-Forwarded-For;"})
		if open, away := opened(f); open != 2 || away != 2 {
			t.Errorf("%d connections were opened and %d turned away: the node does not see the client's address", open, away)
		}
		f.requests("the client's address", func(r request) bool { return r.Client == "203.0.113.7" })
	})
}

// TestDrain: while one of two nodes stops, every handshake succeeds at the
// other, and what was connected is told to come back.
func TestDrain(t *testing.T) {
	draining, other := startNode(t, "--drain=6s"), startNode(t)
	f := startFront(t, site{nodes: []string{draining.addr, other.addr}})
	for range 10 { // least_conn would leave an empty node alone
		dial(t, other.addr, dialOptions{})
		dial(t, f.Addr, dialOptions{})
	}
	draining.Terminate()
	eventually(t, "the node drains", func() bool {
		resp, err := httpClient.Get("http://" + draining.addr + "/readyz")
		if err != nil {
			return true
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusServiceUnavailable
	})
	for range 20 {
		c := dial(t, f.Addr, dialOptions{})
		_ = c.conn.Close()
	}
	if resp, _ := get(t, "http://"+f.Addr+"/readyz"); resp.StatusCode != 200 {
		t.Errorf("one node is ready, and readyz says %s", resp.Status)
	}
	f.requests("a handshake that was tried again", func(r request) bool {
		return r.Status == 101 && r.NodeStatus == "503, 101"
	})
	draining.Wait()
	other.Terminate()
	eventually(t, "no node is ready", func() bool {
		resp, _ := get(t, "http://"+f.Addr+"/readyz")
		return resp.StatusCode == 503 || resp.StatusCode == 502
	})
}

// TestRollingRestart: nodes that were restarted get their part of the clients at
// once, and all of them when the last other node dies. (With max_fails nginx
// remembers that they failed until a WebSocket to them ends.)
func TestRollingRestart(t *testing.T) {
	nodes := []*node{startNode(t, "--drain=0s"), startNode(t, "--drain=0s")}
	f := startFront(t, site{nodes: []string{nodes[0].addr, nodes[1].addr}})
	const clients = 20
	connect := func(n int) {
		t.Helper()
		for range n {
			dial(t, f.Addr, dialOptions{})
		}
	}
	for _, n := range nodes {
		connect(clients)
		n.Stop()
		connect(clients)
		n.Start()
		connect(clients)
		if got := n.metric("hubbub_connections"); got < clients/2 {
			t.Errorf("a node that was restarted has %v connections, and %d were opened since", got, clients)
		}
	}
	nodes[1].Kill9()
	connect(clients)
}

// TestMostNodesDown: one node of six is enough to let everybody in.
func TestMostNodesDown(t *testing.T) {
	s := site{nodes: []string{startNode(t).addr}}
	for range 5 {
		s.nodes = append(s.nodes, backends.Addr(t)) // nobody listens there
	}
	f := startFront(t, s)
	for range 20 {
		dial(t, f.Addr, dialOptions{})
	}
}

// TestReload: a new configuration leaves open WebSockets alone.
func TestReload(t *testing.T) {
	n := startNode(t)
	f := startFront(t, site{nodes: []string{n.addr}})
	old := dial(t, f.Addr, dialOptions{})
	listen := filepath.Join(f.Dir(), "hubbub", "listen.conf")
	also := backends.Addr(t)
	if err := os.WriteFile(listen, []byte("listen "+f.Addr+"; listen "+also+";"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.Signal(syscall.SIGHUP)
	eventually(t, "nginx listens as it is told now", func() bool {
		conn, _, err := tryDial(also, dialOptions{})
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	old.call(`"subscribe":{"channel":"room"}`)
}

// TestSources: with several addresses of its own nginx uses them all.
func TestSources(t *testing.T) {
	var mu sync.Mutex
	seen := make(map[string]int)
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		host, _, _ := strings.Cut(r.RemoteAddr, ":")
		seen[host]++
		w.Header().Set("Connection", "close") // or nginx keeps the first for all
	})
	f := startFront(t, site{nodes: []string{addr}, site: `
		split_clients "$remote_addr:$remote_port" $hubbub_source { 50% 127.0.0.2; * 127.0.0.3; }
		geo $hubbub_unlimited { default 1; }`})
	for range 60 {
		get(t, "http://"+f.Addr+"/")
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 2 || seen["127.0.0.2"] == 0 || seen["127.0.0.3"] == 0 {
		t.Errorf("nginx came from %v", seen)
	}
}

// TestLimits: an address that is limited is told so, and counted by nginx alone.
func TestLimits(t *testing.T) {
	reached := 0
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) { reached++ }) // one connection, one goroutine
	f := startFront(t, site{nodes: []string{addr}, site: `
		split_clients "$remote_addr:$remote_port" $hubbub_source { * ""; }
		geo $hubbub_unlimited { default 0; }`})
	kept := &http.Client{Timeout: time.Minute}
	defer kept.CloseIdleConnections()
	const burst, most = 2000, 20_000 // 100 a second more than the burst are let through
	told := make(map[int]int)
	began, asked := time.Now(), 0
	for ; told[429] < 500 && asked < most; asked++ {
		resp, err := kept.Get("http://" + f.Addr + "/connection/websocket")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		told[resp.StatusCode]++
	}
	allowed := burst + 1 + int(100*time.Since(began).Seconds()) + 1
	if told[200] < burst || told[200] > allowed || told[200]+told[429] != asked || asked == most {
		t.Errorf("%d requests were answered %v, and up to %d might be let through", asked, told, allowed)
	}
	f.requests("a request over the limit", func(r request) bool { return r.Status == 429 && strings.Contains(r.Limited, "REJECTED") })
}

// TestTLS: the shipped tls.conf, on ports that a test may have.
func TestTLS(t *testing.T) {
	n := startNode(t)
	certificate, key := selfSigned(t)
	secure, plain := backends.Addr(t), backends.Addr(t)
	listen := read(t, "deploy/nginx/hubbub/tls.conf")
	for _, change := range []struct{ from, to string }{
		{"listen 443 ", "listen " + secure + " "}, {"listen 80 ", "listen " + plain + " "},
		{"listen [::]:443 ssl reuseport backlog=16384;\n", ""}, {"listen [::]:80 reuseport backlog=16384;\n", "listen %s;\n"},
	} {
		if strings.Count(listen, change.from) != 1 {
			t.Fatalf("tls.conf has %q %d times", change.from, strings.Count(listen, change.from))
		}
		listen = strings.Replace(listen, change.from, change.to, 1)
	}
	startFront(t, site{nodes: []string{n.addr}, listen: listen, files: map[string]string{
		"hubbub/tls/fullchain.pem": certificate, "hubbub/tls/privkey.pem": key,
	}})
	c := dial(t, secure, dialOptions{tls: trusting(t, certificate)})
	c.call(`"subscribe":{"channel":"room"}`)

	resp, _ := get(t, "http://"+plain+"/a?b=c")
	host, _, _ := strings.Cut(plain, ":")
	if got := resp.Header.Get("Location"); resp.StatusCode != 301 || got != fmt.Sprintf("https://%s/a?b=c", host) {
		t.Errorf("without TLS: %s to %q", resp.Status, got)
	}
}
