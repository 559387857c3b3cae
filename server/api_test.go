package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/api"
	"github.com/hubbub-chat/hubbub/server/auth"
)

const (
	apiKey      = "0123456789abcdef-one"
	otherAPIKey = "0123456789abcdef-two"
)

// backend is an application's: it asks the server API of a node.
type backend struct {
	t    *testing.T
	h    *harness
	http *http.Client
}

func startAPI(t *testing.T, settings ...func(*options)) *backend {
	t.Helper()
	h := start(t, append(settings, func(o *options) { o.APIKeys = []api.Key{apiKey, otherAPIKey} })...)
	b := &backend{t, h, &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}}
	t.Cleanup(b.http.CloseIdleConnections)
	return b
}

// send asks with any method and headers ("Name: value"). It needs no test's
// goroutine.
func (b *backend) send(verb, path, body string, headers ...string) (status int, answer string, err error) {
	req, err := http.NewRequest(verb, "http://"+b.h.addr()+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := b.http.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// publishes is what a request publishes: a publish, a broadcast or a batch.
type publishes struct {
	Channel  string
	Channels []string
	Data     json.RawMessage
	Commands []struct{ Publish, Broadcast publishes }
}

func (b *backend) note(p publishes) {
	for _, channel := range append(p.Channels, p.Channel) {
		if p.Data != nil {
			b.h.ledger.sent(channel, oneLine(p.Data))
		}
	}
	for _, c := range p.Commands {
		b.note(c.Publish)
		b.note(c.Broadcast)
	}
}

// post asks as it should be done, and tells the ledger what it publishes.
func (b *backend) post(method, body string) (status int, answer string) {
	b.t.Helper()
	var said publishes
	if json.Unmarshal([]byte(body), &said) == nil {
		b.note(said)
	}
	status, answer, err := b.send(http.MethodPost, "/api/"+method, body, "X-API-Key: "+apiKey, "Content-Type: application/json")
	if err != nil {
		b.t.Fatal(err)
	}
	return status, answer
}

// ok asks for something that succeeds, and decodes the result.
func (b *backend) ok(method, body string) map[string]any {
	b.t.Helper()
	status, answer := b.post(method, body)
	var r struct{ Result map[string]any }
	if err := json.Unmarshal([]byte(answer), &r); err != nil || status != http.StatusOK || r.Result == nil {
		b.t.Fatalf("%s %s: %d %s, %v", method, body, status, answer, err)
	}
	return r.Result
}

// fails asks for something that is answered with an error.
func (b *backend) fails(method, body string, code uint32) {
	b.t.Helper()
	status, answer := b.post(method, body)
	var r struct{ Error struct{ Code uint32 } }
	if err := json.Unmarshal([]byte(answer), &r); err != nil || status != http.StatusOK || r.Error.Code != code {
		b.t.Errorf("%s %.200s: %d %s, %v; want error %d", method, body, status, answer, err, code)
	}
}

// Who is not let in, and what is not even looked at.
func TestAPIRefuses(t *testing.T) {
	b := startAPI(t)
	key, kind := "X-API-Key: "+apiKey, "Content-Type: application/json"
	for _, c := range []struct {
		name, verb, path, body string
		headers                []string
		status                 int
	}{
		{"a key", "POST", "/api/info", "{}", []string{key, kind}, 200},
		{"the other key", "POST", "/api/info", "{}", []string{"X-API-Key: " + otherAPIKey, kind}, 200},
		{"authorization", "POST", "/api/info", "{}", []string{"Authorization: apikey " + apiKey, kind}, 200},
		{"authorization, capitals", "POST", "/api/info", "{}", []string{"Authorization: ApiKey " + apiKey, kind}, 200},
		{"charset", "POST", "/api/info", "{}", []string{key, kind + "; charset=utf-8"}, 200},
		{"unknown fields", "POST", "/api/info", `{"colour":"red"}`, []string{key, kind}, 200},

		{"no key", "POST", "/api/info", "{}", []string{kind}, 401},
		{"empty key", "POST", "/api/info", "{}", []string{kind, "X-API-Key: "}, 401},
		{"wrong key", "POST", "/api/info", "{}", []string{kind, "X-API-Key: " + apiKey + "x"}, 401},
		{"part of a key", "POST", "/api/info", "{}", []string{kind, "X-API-Key: " + apiKey[:19]}, 401},
		{"both keys", "POST", "/api/info", "{}", []string{kind, "X-API-Key: " + apiKey + otherAPIKey}, 401},
		{"another scheme", "POST", "/api/info", "{}", []string{kind, "Authorization: Bearer " + apiKey}, 401},
		{"key in the query", "POST", "/api/info?api_key=" + apiKey, "{}", []string{kind}, 401},
		{"no key, unknown method", "POST", "/api/none", "{}", []string{kind}, 401},
		{"no key, GET", "GET", "/api/info", "", nil, 401},

		{"unknown method", "POST", "/api/none", "{}", []string{key, kind}, 404},
		{"no method", "POST", "/api/", "{}", []string{key, kind}, 400},
		{"method with more", "POST", "/api/info/", "{}", []string{key, kind}, 404},
		{"GET", "GET", "/api/info", "", []string{key}, 405},
		{"PUT", "PUT", "/api/info", "{}", []string{key, kind}, 405},
		{"no content type", "POST", "/api/info", "{}", []string{key}, 415},
		{"a form", "POST", "/api/info", "{}", []string{key, "Content-Type: application/x-www-form-urlencoded"}, 415},
		{"compressed", "POST", "/api/info", "{}", []string{key, kind, "Content-Encoding: gzip"}, 415},
		{"too large", "POST", "/api/info", `{"x":"` + strings.Repeat("x", 1<<20) + `"}`, []string{key, kind}, 413},
		{"as large as can be", "POST", "/api/info", `{"x":"` + strings.Repeat("x", 1<<20-8) + `"}`, []string{key, kind}, 200},

		{"empty", "POST", "/api/info", "", []string{key, kind}, 400},
		{"not JSON", "POST", "/api/info", "{", []string{key, kind}, 400},
		{"null", "POST", "/api/info", "null", []string{key, kind}, 400},
		{"a list", "POST", "/api/info", "[]", []string{key, kind}, 400},
		{"two objects", "POST", "/api/info", "{}{}", []string{key, kind}, 400},
		{"not UTF-8", "POST", "/api/publish", "{\"channel\":\"\xff\",\"data\":1}", []string{key, kind}, 400},
		{"number for a channel", "POST", "/api/publish", `{"channel":1,"data":1}`, []string{key, kind}, 400},
		{"negative offset", "POST", "/api/history", `{"channel":"a","since":{"offset":-1}}`, []string{key, kind}, 400},
		{"deep", "POST", "/api/publish", `{"data":` + strings.Repeat("[", 20_000), []string{key, kind}, 400},
		{"one bad command in a batch", "POST", "/api/batch", `{"commands":[{"publish":{"channel":"a","data":1}},{"publish":{"channel":1}}]}`, []string{key, kind}, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, answer, err := b.send(c.verb, c.path, c.body, c.headers...)
			if err != nil || status != c.status {
				t.Errorf("%d %.300s, %v; want %d", status, answer, err, c.status)
			}
			var r struct {
				Error *struct {
					Code    uint32
					Message string
				}
			}
			if err := json.Unmarshal([]byte(answer), &r); err != nil || (status == 200) != (r.Error == nil) || r.Error != nil && (r.Error.Code < 100 || r.Error.Message == "") {
				t.Errorf("answered %s, %v", answer, err)
			}
			if strings.Contains(answer, apiKey[:16]) {
				t.Errorf("the answer has the key: %s", answer)
			}
		})
	}
	if r := b.ok("history", `{"channel":"a","limit":1}`); r["offset"] != 0.0 {
		t.Errorf("something was published by a request that was refused: %v", r)
	}
}

// Without a key there is nothing there.
func TestAPIWithoutKey(t *testing.T) {
	h := start(t)
	b := &backend{t, h, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	for _, header := range []string{"X-API-Key: ", "X-API-Key: " + apiKey} {
		for _, verb := range []string{"GET", "POST"} {
			if status, _, err := b.send(verb, "/api/info", "{}", header); err != nil || status != http.StatusNotFound {
				t.Errorf("%s: %d, %v; want 404", verb, status, err)
			}
		}
	}
}

// What is understood and cannot be done.
func TestAPIErrors(t *testing.T) {
	config := filepath.Join(t.TempDir(), "rules.json")
	if err := os.WriteFile(config, []byte(`{"namespaces":{"live":{"ephemeral":true},"news":{"publish":"nobody"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	b := startAPI(t, func(o *options) { o.Config = config; o.MaxSize = 1000 })
	long := strings.Repeat("x", 256)
	for _, c := range []struct {
		method, body string
		code         uint32
	}{
		{"publish", `{}`, 107},
		{"publish", `{"channel":"a"}`, 107},
		{"publish", `{"data":1}`, 107},
		{"publish", `{"channel":"` + long + `","data":1}`, 107},
		{"publish", `{"channel":"a\n","data":1}`, 107},
		{"publish", `{"channel":"none:a","data":1}`, 102},
		{"publish", `{"channel":"a","data":"` + strings.Repeat("x", 1000) + `"}`, 106},
		{"publish", `{"channel":"a","data":1,"idempotency_key":"` + long + `"}`, 106},
		{"publish", `{"channel":"a","b64data":"e30="}`, 108},
		{"broadcast", `{"data":1}`, 107},
		{"broadcast", `{"channels":["a"]}`, 107},
		{"broadcast", `{"channels":[` + strings.Repeat(`"a",`, 1000) + `"a"],"data":1}`, 106},
		{"subscribe", `{"channel":"a"}`, 107},
		{"subscribe", `{"user":"u"}`, 107},
		{"subscribe", `{"user":"u","channel":"none:a"}`, 102},
		{"subscribe", `{"user":"u","channel":"a","session":"s"}`, 108},
		{"unsubscribe", `{"channel":"a"}`, 107},
		{"unsubscribe", `{"user":"u"}`, 107},
		{"unsubscribe", `{"user":"u","channel":"none:a"}`, 102},
		{"unsubscribe", `{"user":"u","channel":"a","session":"s"}`, 108},
		{"disconnect", `{}`, 107},
		{"disconnect", `{"client":"c"}`, 107},
		{"disconnect", `{"user":"` + long + `"}`, 107},
		{"disconnect", `{"user":"u","session":"s"}`, 108},
		{"disconnect", `{"user":"u","whitelist":["c"]}`, 108},
		{"disconnect", `{"user":"u","disconnect":{"code":1000}}`, 107},
		{"disconnect", `{"user":"u","disconnect":{"code":5000}}`, 107},
		{"disconnect", `{"user":"u","disconnect":{"code":69000}}`, 107},
		{"disconnect", `{"user":"u","disconnect":{"code":3503,"reason":"` + long[:124] + `"}}`, 107},
		{"disconnect", `{"user":"u","disconnect":{"code":3503,"reason":"{\"reconnect\":true}"}}`, 107},
		{"refresh", `{}`, 107},
		{"refresh", `{"user":"u","expire_at":-1}`, 107},
		{"refresh", `{"user":"u","session":"s","expired":true}`, 108},
		{"presence", `{}`, 107},
		{"presence", `{"channel":"none:a"}`, 102},
		{"presence_stats", `{}`, 107},
		{"presence_stats", `{"channel":"none:a"}`, 102},
		{"history", `{}`, 107},
		{"history", `{"channel":"none:a"}`, 102},
		{"history", `{"channel":"live:a"}`, 108},
		{"history", `{"channel":"a","since":{"offset":1,"epoch":"other"}}`, 112},
		{"history", `{"channel":"a","since":{"offset":0},"reverse":true}`, 107},
		{"channels", `{"pattern":"` + long + `"}`, 107},
		{"rpc", `{}`, 107},
		{"rpc", `{"method":"fly","params":{}}`, 108},
		{"batch", `{}`, 107},
		{"batch", `{"commands":[` + strings.Repeat(`{},`, 1000) + `{}]}`, 106},
	} {
		b.fails(c.method, c.body, c.code)
	}
	// What clients may not do, the server may.
	b.ok("publish", `{"channel":"news:a","data":1}`)
	b.ok("publish", `{"channel":"$private","data":1}`)
	b.ok("publish", `{"channel":"@alice,bob","data":{"type":"delete","of":1}}`)
	if r := b.ok("publish", `{"channel":"live:a","data":1}`); len(r) != 0 {
		t.Errorf("a publish that is not kept gave %v", r)
	}
	b.ok("unsubscribe", `{"user":"nobody","channel":"a"}`)
	b.ok("disconnect", `{"user":"nobody"}`)
	b.ok("refresh", `{"user":"nobody","expired":true,"whitelist":[]}`)
}

// A page of history, both ways, out of memory and out of the store.
func TestAPIHistory(t *testing.T) {
	b := startAPI(t)
	const n = 150 // more than a room keeps in memory
	var offsets []float64
	for i := range n {
		offsets = append(offsets, b.ok("publish", fmt.Sprintf(`{"channel":"a","data":{"n":%d}}`, i))["offset"].(float64))
	}
	epoch := b.h.epoch()
	for _, where := range []string{"running", "restarted"} {
		for _, c := range []struct {
			body        string
			first, step int
			count       int
		}{
			{`{"channel":"a"}`, 0, 1, 0},
			{`{"channel":"a","limit":10}`, 0, 1, 10},
			{`{"channel":"a","limit":-1}`, 0, 1, n},
			{`{"channel":"a","limit":1000}`, 0, 1, n},
			{`{"channel":"a","limit":10,"reverse":true}`, n - 1, -1, 10},
			{`{"channel":"a","limit":-1,"reverse":true}`, n - 1, -1, n},
			{fmt.Sprintf(`{"channel":"a","limit":10,"since":{"offset":%.0f,"epoch":%q}}`, offsets[139], epoch), 140, 1, 10},
			{fmt.Sprintf(`{"channel":"a","limit":20,"since":{"offset":%.0f}}`, offsets[0]), 1, 1, 20},
			{fmt.Sprintf(`{"channel":"a","limit":5,"since":{"offset":%.0f},"reverse":true}`, offsets[20]), 19, -1, 5},
			{fmt.Sprintf(`{"channel":"a","limit":5,"since":{"offset":%.0f}}`, offsets[n-1]), 0, 1, 0},
			{`{"channel":"a","limit":5,"since":{"offset":9007199254740991},"reverse":true}`, n - 1, -1, 5},
		} {
			r := b.ok("history", c.body)
			pubs, _ := r["publications"].([]any)
			if pubs == nil || len(pubs) != c.count || r["epoch"] != epoch || r["offset"] != offsets[n-1] {
				t.Fatalf("%s, %s: %d publications of %v, %v; want %d", where, c.body, len(pubs), r["epoch"], r["offset"], c.count)
			}
			for i, p := range pubs {
				want := c.first + i*c.step
				pub := p.(map[string]any)
				if pub["offset"] != offsets[want] || fmt.Sprint(pub["data"]) != fmt.Sprintf("map[n:%d]", want) || pub["info"] != nil {
					t.Fatalf("%s, %s: number %d is %v, want message %d", where, c.body, i, pub, want)
				}
			}
		}
		b.h.restart()
	}
	c := b.h.client(schema.JSON)
	c.publish("b", `"by a client"`)
	pubs := b.ok("history", `{"channel":"b","limit":1}`)["publications"].([]any)
	info, _ := pubs[0].(map[string]any)["info"].(map[string]any)
	if info["client"] != c.id || info["user"] != "guest-"+c.id {
		t.Errorf("a client's message is %v", pubs[0])
	}
}

// The commands of a batch take effect in order, each with its own answer.
func TestAPIBatch(t *testing.T) {
	b := startAPI(t)
	status, answer := b.post("batch", `{"parallel":true,"commands":[
		{"publish":{"channel":"a","data":1}}, {"publish":{"channel":"a","data":2}}, {"publish":{"channel":"a"}},
		{"broadcast":{"channels":["a","","b"],"data":3}}, {"history":{"channel":"a","limit":10}},
		{}, {"info":{},"channels":{}}, {"fly":{}}, {"batch":{"commands":[]}}, {"presence":{"channel":"a"}}]}`)
	var r struct{ Replies []map[string]map[string]any }
	if err := json.Unmarshal([]byte(answer), &r); err != nil || status != 200 || len(r.Replies) != 10 {
		t.Fatalf("%d %s, %v", status, answer, err)
	}
	for i, name := range []string{"publish", "publish", "error", "broadcast", "history", "error", "error", "error", "error", "presence"} {
		if r.Replies[i][name] == nil || len(r.Replies[i]) != 1 {
			t.Errorf("reply %d is %v, want %s", i, r.Replies[i], name)
		}
	}
	if s := fmt.Sprint(r.Replies[3]["broadcast"]["responses"]); !strings.Contains(s, "107") || strings.Count(s, "offset") != 2 {
		t.Errorf("the broadcast was answered %s", s)
	}
	var seen []string
	for _, p := range r.Replies[4]["history"]["publications"].([]any) {
		seen = append(seen, fmt.Sprint(p.(map[string]any)["data"]))
	}
	if strings.Join(seen, " ") != "1 2 3" {
		t.Errorf("the batch left %v", seen)
	}
	// As many as there may be, far faster than one commit each.
	var list []string
	for i := range 1000 {
		list = append(list, fmt.Sprintf(`{"publish":{"channel":"c","data":%d}}`, i))
	}
	if _, answer = b.post("batch", `{"commands":[`+strings.Join(list, ",")+`]}`); strings.Count(answer, `"offset"`) != 1000 {
		t.Errorf("a thousand publishes gave %.300s", answer)
	}
	if pubs := b.ok("history", `{"channel":"c","limit":-1}`)["publications"].([]any); pubs[499].(map[string]any)["data"] != 499.0 {
		t.Errorf("out of order: %v", pubs[499])
	}
}

// A repeated message is stored once.
func TestAPIIdempotency(t *testing.T) {
	b := startAPI(t)
	c := b.h.client(schema.JSON)
	c.subscribe("a")
	first := b.ok("publish", `{"channel":"a","data":1,"idempotency_key":"k"}`)
	for range 2 { // neither stored nor delivered, and answered like the first
		if again := b.ok("publish", `{"channel":"a","data":1,"idempotency_key":"k"}`); !cmp.Equal(again, first) {
			t.Errorf("the retry was answered %v, the first %v", again, first)
		}
	}
	b.fails("publish", `{"channel":"a","data":2,"idempotency_key":"k"}`, 107)
	b.ok("publish", `{"channel":"a","data":2,"idempotency_key":"l"}`)
	b.ok("publish", `{"channel":"b","data":3,"idempotency_key":"k"}`) // a channel has its own keys
	for _, want := range []string{"1", "2"} {
		if p := c.push("a"); string(p.Data) != want {
			t.Errorf("a member got %v, want %s", p, want)
		}
	}

	// The memory of keys does not outlive the node; the store's does.
	b.h.restart()
	b.ok("publish", `{"channel":"a","data":1,"idempotency_key":"k"}`)
	b.h.restart()
	if pubs := b.ok("history", `{"channel":"a","limit":10}`)["publications"].([]any); len(pubs) != 2 {
		t.Errorf("stored: %v", pubs)
	}
	b.h.ledger = newLedger() // it wants an unbroken chain, and the duplicate is hidden in it
}

// Keys do not print, and a bad one ends the start with one line without it.
func TestAPIKeys(t *testing.T) {
	cfg := serveCmd{APIKeys: []api.Key{apiKey}, TokenKeys: []auth.KeySpec{testSecret}}
	text, err := json.Marshal(cfg.APIKeys)
	if s := fmt.Sprintf("%v %+v %#v %s %q %s", cfg.APIKeys, cfg, cfg.APIKeys, cfg.APIKeys[0], cfg.APIKeys[0], text); err != nil || strings.Contains(s, "0123456789") {
		t.Errorf("it prints: %s, %v", s, err)
	}
	for _, bad := range []string{"", "secret-15-bytes", "secret-with a space in it", "secret-with-\u00e4-umlaut", strings.Repeat("secret-x", 200)} {
		cfg := serveCmd{Addr: ":0", Data: "x", MaxHead: 16 << 10, MaxSize: 1000, APIKeys: []api.Key{apiKey, api.Key(bad)}}
		err := cfg.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), "--api-key: key 2 ") || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
