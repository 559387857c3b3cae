package cluster

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/internal/backends"
)

// httpClient keeps no connection: none is left when a test ends.
var httpClient = &http.Client{
	Timeout:   time.Minute,
	Transport: &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	},
}

// node is one `hubbub serve`, or a writer.
type node struct {
	*backends.Process
	t    testing.TB
	addr string
}

// apiKey opens every node's server API.
const apiKey = "an-api-key-of-tests"

// startNode runs a node alone, and returns when it is ready.
func startNode(t testing.TB, args ...string) *node {
	t.Helper()
	return startNodeWith(t, nil, args...)
}

// startNodeWith runs a node that believes nginx, with settings as NAME=VALUE
// and as arguments.
func startNodeWith(t testing.TB, env []string, args ...string) *node {
	t.Helper()
	return run(t, "node", append(env, "HUBBUB_API_KEY="+apiKey), append([]string{"serve", "--data=" + t.TempDir(), "--drain=1s",
		"--trusted-proxies=127.0.0.0/8", "--sync=normal"}, args...))
}

// run runs the program with an address, and returns when it is ready.
func run(t testing.TB, name string, env, args []string) *node {
	t.Helper()
	n := &node{t: t, addr: backends.Addr(t)}
	n.Process = backends.Run(t, name, binary, append(args, "--addr="+n.addr), env, func() error {
		resp, err := httpClient.Get("http://" + n.addr + "/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("readyz: %s", resp.Status)
		}
		return nil
	})
	return n
}

// metric is the value of a metric without labels.
func (n *node) metric(name string) float64 {
	n.t.Helper()
	_, body := get(n.t, "http://"+n.addr+"/metrics")
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(body)
	if m == nil {
		n.t.Fatalf("there is no metric %s", name)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		n.t.Fatal(err)
	}
	return v
}

// get fetches a page.
func get(t testing.TB, url string) (*http.Response, string) {
	t.Helper()
	resp, err := httpClient.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// eventually waits for something that no message announces.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within two minutes: %s", what)
		}
	}
}
