package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/centrifugal/protocol"
	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/internal/race"
	"github.com/hubbub-chat/hubbub/schema"
)

// outagesDoc has a table for each back end; its cells are what is tested here.
const outagesDoc = "../docs/outages.md"

// scene is the servers and the node on which one table is tried: for each row,
// by its cause, how the state begins and how it ends.
type scene struct {
	h      *harness
	states map[string]cause
}

type cause struct{ begin, end func() }

// scenes are those of the headings in the documentation.
var scenes = map[string]func(t *testing.T) *scene{
	"Redis":  redisScene,
	"SQLite": sqliteScene,
	"MySQL":  mysqlScene,
	"Kafka":  kafkaScene,
}

// Each back end is put into each state that the documentation has, and seen to
// do what it says there: what clients get, readiness, metrics and the log.
func TestOutageTable(t *testing.T) {
	if race.Enabled {
		t.Skip("three minutes of waiting: TestOutages has the same code under the race detector")
	}
	tables := outageTables(t)
	for name, set := range scenes {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they mostly wait
			rows := tables[name]
			s := set(t)
			if len(rows) != len(s.states) {
				t.Errorf("%s has %d rows about %s, and %d are tried", outagesDoc, len(rows), name, len(s.states))
			}
			for _, row := range rows {
				c, ok := s.states[row["cause"]]
				if !ok {
					t.Errorf("%s: nothing tries %q", outagesDoc, row["cause"])
					continue
				}
				if !t.Run(row["cause"], func(t *testing.T) { s.try(t, strings.ToLower(name), row, c) }) {
					return // the next would begin in disorder
				}
			}
		})
	}
	for name := range tables {
		if scenes[name] == nil {
			t.Errorf("%s: nothing tries the table of %s", outagesDoc, name)
		}
	}
}

// outageTables reads the tables with a cause by their headings; a row is its
// cells by their column.
func outageTables(t *testing.T) map[string][]map[string]string {
	t.Helper()
	text, err := os.ReadFile(outagesDoc)
	if err != nil {
		t.Fatal(err)
	}
	tables := make(map[string][]map[string]string)
	heading, columns := "", []string(nil)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if title, ok := strings.CutPrefix(line, "## "); ok {
			heading = title
		}
		if !strings.HasPrefix(line, "|") {
			columns = nil
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case columns == nil:
			columns = cells
		case strings.HasPrefix(cells[0], "---") || len(columns) < 2 || columns[1] != "cause":
		case len(cells) != len(columns):
			t.Errorf("%s: a row with %d cells of %d: %s", outagesDoc, len(cells), len(columns), line)
		default:
			row := make(map[string]string)
			for i, c := range columns {
				row[c] = cells[i]
			}
			tables[heading] = append(tables[heading], row)
		}
	}
	return tables
}

// quoted are the parts of a cell between backquotes.
func quoted(cell string) (list []string) {
	for _, m := range regexp.MustCompile("`([^`]*)`").FindAllStringSubmatch(cell, -1) {
		list = append(list, m[1])
	}
	return list
}

// try begins a state, compares what is seen with a row, and ends it.
func (s *scene) try(t *testing.T, backend string, row map[string]string, c cause) {
	o := &observation{t: t, h: s.h, room: roomOf(t), logged: s.h.logs.Len()}
	o.works()
	c.begin()
	o.publishes(quoted(row["publish"])[0])
	status, body, _ := strings.Cut(row["readyz"], " ")
	eventually(t, "readyz is "+row["readyz"], func() bool {
		got, text := o.get("/readyz")
		return fmt.Sprint(got) == status && strings.Contains(text, strings.Trim(body, "`"))
	})
	metrics := append(quoted(row["metrics"]), fmt.Sprintf("hubbub_backend_state{backend=%q,state=%q} 1", backend, row["state"]))
	for _, want := range metrics {
		eventually(t, "metrics have "+want, func() bool {
			_, text := o.get("/metrics")
			return strings.Contains("\n"+text, "\n"+want+"\n")
		})
	}
	o.subscribes(quoted(row["subscribe"])[0])
	o.reads(quoted(row["history"])[0])
	o.publishes(quoted(row["publish"])[0])
	o.stays(row["sessions"])
	log := quoted(row["log"])
	o.tells(backend, log)
	c.end()
	o.works()
	if len(log) > 0 {
		o.tells(backend, append(log, "back end answers again"))
	}
}

// observation is what is seen of a node in one state.
type observation struct {
	t      *testing.T
	h      *harness
	room   string
	client *client
	sent   int
	logged int // lines before
}

func (o *observation) get(path string) (status int, body string) {
	o.t.Helper()
	resp, err := http.Get("http://" + o.h.addr() + path)
	if err != nil {
		o.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// codeOf is a reply as the tables have it.
func codeOf(r *protocol.Reply) string {
	if r.Error == nil {
		return "ok"
	}
	return fmt.Sprint(r.Error.Code)
}

func (o *observation) publish() string {
	o.sent++
	r := o.client.call(&protocol.Command{Publish: &protocol.PublishRequest{Channel: o.room, Data: fmt.Appendf(nil, `{"n":%d}`, o.sent)}})
	if r.Error != nil && !r.Error.Temporary {
		o.t.Errorf("a publish is refused for good: %v", r.Error)
	}
	return codeOf(r)
}

// publishes waits until publishes end like this, and wants it to stay so.
func (o *observation) publishes(want string) {
	o.t.Helper()
	last := ""
	eventually(o.t, "a publish ends with "+want, func() bool { last = o.publish(); return last == want })
	for range 5 {
		if got := o.publish(); got != want {
			o.t.Errorf("a publish ends with %s, want %s", got, want)
		}
	}
}

func (o *observation) subscribes(want string) {
	o.t.Helper()
	for i := range 3 {
		r := o.client.call(&protocol.Command{Subscribe: &protocol.SubscribeRequest{Channel: fmt.Sprintf("%s:new%d", o.room, i)}})
		if got := codeOf(r); got != want {
			o.t.Errorf("subscribe: %s, want %s", got, want)
		}
	}
}

func (o *observation) reads(want string) {
	o.t.Helper()
	r := o.client.call(&protocol.Command{History: &protocol.HistoryRequest{Channel: o.room, Limit: 10}})
	if got := codeOf(r); got != want || want == "ok" && len(r.History.Publications) == 0 {
		o.t.Errorf("history: %s with %v, want %s", got, r.History, want)
	}
}

// stays wants the client to stay connected, or to be sent elsewhere.
func (o *observation) stays(want string) {
	o.t.Helper()
	if want == "stay" {
		return // it was asked until now
	}
	o.client.expectClose(3011)
	o.client = nil
}

// works waits until all is well, with a client of its own where the other was
// sent away.
func (o *observation) works() {
	o.t.Helper()
	eventually(o.t, "the node is ready", func() bool { status, _ := o.get("/readyz"); return status == http.StatusOK })
	if o.client == nil {
		o.client = o.h.client(schema.JSON)
		o.client.t = o.t
		o.client.subscribe(o.room)
	}
	o.publishes("ok")
}

// tells wants one line for each change of the back end's, and few beside them.
func (o *observation) tells(backend string, messages []string) {
	o.t.Helper()
	count := func(message string) (n int) {
		for _, e := range o.h.logs.All()[o.logged:] {
			if e.Message == message && e.ContextMap()["backend"] == backend {
				n++
			}
		}
		return n
	}
	for _, m := range messages {
		eventually(o.t, "the log has "+m, func() bool { return count(m) > 0 })
		if n := count(m); n > 1 {
			o.t.Errorf("%d lines with %q", n, m)
		}
	}
	const few = 5 // of what it brings with it: a lost subscription, another server
	loud := 0
	for _, e := range o.h.logs.All()[o.logged:] {
		if e.Level >= zap.WarnLevel {
			loud++
			o.t.Logf("%s: %s %v", e.Level, e.Message, e.ContextMap())
		}
	}
	if loud > len(messages)+few {
		o.t.Errorf("%d warnings and errors", loud)
	}
}
