package cluster

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql" // counts what the database was asked
)

// TestReconnectStorm: 10,000 clients lose their node at once and recover on
// another one, and the database is asked nothing: memory and the stream in Redis have
// it all.
func TestReconnectStorm(t *testing.T) {
	const clients = 10_000
	c := startServers(t)
	a, b := startNodeWith(t, c.env), startNodeWith(t, c.env)
	asked := questions(t, c.db.DSN)

	report := filepath.Join(t.TempDir(), "report.json")
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), loadgen, "run", "--url=ws://"+a.addr+"/connection/websocket", "--url=ws://"+b.addr+"/connection/websocket",
		"--connections=10000", "--connect-rate=2000", "--rooms=100", "--rate=200", "--talkers=2", "--warmup=0s", "--duration=1m", "--drain=2m", "--join-timeout=2m",
		"--reconnect", "--reconnect-max=2s", "--json="+report)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }() // ends with the process; the report says how it went
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // unless it has ended
		<-ended
		t.Logf("loadgen said:\n%s", out.Bytes())
	})
	subscribed := func(n *node) int { return int(n.metric("hubbub_subscriptions")) }

	eventually(t, "all clients are there", func() bool { return subscribed(a)+subscribed(b) == clients })
	time.Sleep(2 * time.Second)
	before := asked()
	a.Kill9()
	eventually(t, "half of them are on the other node", func() bool { return subscribed(b) == clients })
	if n := asked() - before; n > 0 {
		t.Errorf("5,000 clients came back, and the database was asked %d times", n)
	}

	a.Start() // which looks at the tables
	before = asked()
	b.Kill9()
	eventually(t, "all of them are on the first node", func() bool { return subscribed(a) == clients })
	if n := asked() - before; n > 0 {
		t.Errorf("10,000 clients came back, and the database was asked %d times", n)
	}
	if n := a.metric("hubbub_history_database_total"); n > 0 {
		t.Errorf("the node counts %v questions to the database", n)
	}

	select {
	case <-ended:
	case <-time.After(5 * time.Minute):
		t.Fatal("loadgen does not end")
	}
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var v verdict
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	if v.Check.Lost+v.Check.Duplicated+v.Check.Reordered+v.Check.Unexpected+v.Connections.Unrecovered+v.Check.Away > 0 {
		t.Errorf("%+v, %d recoveries refused", v.Check, v.Connections.Unrecovered)
	}
	if v.Connections.Rejoined < 3*clients/2 {
		t.Errorf("%d came back", v.Connections.Rejoined)
	}
}

// questions counts the SELECTs that a server was asked, but for its own.
func questions(t *testing.T, dsn string) func() int {
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return func() (n int) {
		var name string
		if err := db.QueryRow("SHOW GLOBAL STATUS LIKE 'Com_select'").Scan(&name, &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
}
