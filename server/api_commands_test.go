package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// The form of SDKs that post to /api: commands one behind the other, and a reply for each.
func TestAPICommands(t *testing.T) {
	b := startAPI(t)
	post := func(path, body string) (int, []string) {
		t.Helper()
		status, answer, err := b.send(http.MethodPost, path, body, "Authorization: apikey "+apiKey, "Content-Type: application/json")
		if err != nil {
			t.Fatal(err)
		}
		return status, strings.Split(strings.TrimSuffix(answer, "\n"), "\n")
	}
	for _, data := range []string{`"one"`, `"two"`, `{"<":1}`} {
		b.h.ledger.sent("lobby", data)
	}
	for _, path := range []string{"/api", "/api/"} {
		status, replies := post(path, `{"method":"info","params":{}}`+"\n")
		if status != http.StatusOK || len(replies) != 1 || !strings.Contains(replies[0], `{"result":{"nodes":[`) {
			t.Errorf("info at %s: %d %q", path, status, replies)
		}
	}
	// As gocent's pipe has them, and as a caller may write them.
	status, replies := post("/api", `{"method":"publish","params":{"channel":"lobby","data":"one"}}
{"method":"publish","params":{"channel":"lobby","data":"two"}}
{"method":"nonsense","params":{"channel":"lobby"}} {"method":"publish","params":{"channel":5}}{"method":"publish"}

{"method":"broadcast","params":{"channels":["lobby"],"data":{"<":1}}}
{"method":"history","params":{"channel":"lobby","limit":10}}
{"method":"presence_stats","params":{"channel":"lobby"}}
{"method":"channels","params":null}
`)
	wants := []string{`{"result":{"offset":`, `{"result":{"offset":`, `{"error":{"code":104,`, `{"error":{"code":107,`, `{"error":{"code":107,`,
		`{"result":{"responses":[{"result":{"offset":`, `{"result":{"publications":[`, `{"result":{"num_clients":0,`, `{"result":{"channels":`}
	if status != http.StatusOK || len(replies) != len(wants) {
		t.Fatalf("%d %q", status, replies)
	}
	for i, want := range wants {
		if !strings.HasPrefix(replies[i], want) {
			t.Errorf("reply %d is %s, want %s…", i, replies[i], want)
		}
	}
	if h := replies[6]; strings.Count(h, `"offset"`) != 4 || !strings.Contains(h, `{"<":1}`) {
		t.Errorf("history behind the publishes is %s", h)
	}

	// What one command brings is its own affair.
	deep := `{"method":"publish","params":{"channel":"lobby","data":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}}`
	if status, replies := post("/api", deep+`{"method":"publish","params":5}{"method":"info"}`); status != http.StatusOK || len(replies) != 3 ||
		!strings.Contains(replies[0], `"code":107`) || !strings.Contains(replies[1], `"code":107`) || !strings.Contains(replies[2], `"result"`) {
		t.Errorf("data of 20,000 levels, no params, and one that is well: %d %.300q", status, replies)
	}

	for _, c := range []struct{ name, body string }{
		{"nothing", ""}, {"blanks", " \n"}, {"no object", `5`}, {"a list", `[{"method":"info"}]`}, {"half of one", `{"method":"info"} {"meth`},
		{"not UTF-8", "{\"method\":\"info\",\"x\":\"\xff\"}"}, {"no method", `{"channel":"lobby"}`}, {"a method that is no name", `{"method":5}`},
		{"too many", strings.Repeat(`{"method":"info"}`, 1001)},
	} {
		if status, replies := post("/api", c.body); status != http.StatusBadRequest || !strings.HasPrefix(replies[0], `{"error":{"code":10`) {
			t.Errorf("%s: %d %q", c.name, status, replies)
		}
	}
	if status, _, err := b.send(http.MethodPost, "/api", "{}", "Content-Type: application/json"); err != nil || status != http.StatusUnauthorized {
		t.Errorf("without a key: %d, %v", status, err)
	}
	if status, _, err := b.send(http.MethodGet, "/api", "", "X-API-Key: "+apiKey); err != nil || status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d, %v", status, err)
	}
	status, replies = post("/api", strings.Repeat(`{"method":"info"}`, 1000))
	if status != http.StatusOK || len(replies) != 1000 {
		t.Errorf("1,000 commands: %d, %d replies", status, len(replies))
	}
	if status, _ := post("/api/nonsense", "{}"); status != http.StatusNotFound {
		t.Error(fmt.Sprint("an unknown method: ", status))
	}
}
