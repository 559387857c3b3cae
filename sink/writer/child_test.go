package writer

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/sink"
	"github.com/hubbub-chat/hubbub/sink/kafka"
)

// orders are what a child is told to do.
type orders struct{ Broker, Topic, Group, DSN string }

// runChild is a writer in a process of its own, which can be killed and
// paused. It ends with its standard input.
func runChild(what string) {
	var o orders
	if err := json.Unmarshal([]byte(what), &o); err != nil {
		panic(err)
	}
	store, err := sink.OpenMySQL(context.Background(), sink.MySQLConfig{DSN: o.DSN})
	if err != nil {
		panic(err)
	}
	w, err := Open(context.Background(), Config{
		Kafka: kafka.Config{Brokers: []string{o.Broker}, Topic: o.Topic, Create: true}, Group: o.Group, Store: store,
		SessionTimeout: sessionTimeout,
	})
	if err != nil {
		panic(err)
	}
	go func() { // ends with the process
		for ; ; time.Sleep(20 * time.Millisecond) {
			s := w.Stats()
			fmt.Println(s.Stored, s.Fenced, s.Rewinds)
		}
	}()
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test ends or closes it
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := w.Close(ctx); err != nil {
		panic(err)
	}
}

// sessionTimeout is the shortest that a broker takes.
const sessionTimeout = 6 * time.Second

// child is such a process.
type child struct {
	t     testing.TB
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Scanner
}

func (r *rig) child() *child {
	r.t.Helper()
	what, err := json.Marshal(orders{r.cfg.Kafka.Brokers[0], r.cfg.Kafka.Topic, r.cfg.Group, r.dsn})
	if err != nil {
		r.t.Fatal(err)
	}
	c := &child{t: r.t, cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), childEnv+"="+string(what))
	c.cmd.Stderr = os.Stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		r.t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	c.lines = bufio.NewScanner(out)
	r.t.Cleanup(func() {
		_ = c.cmd.Process.Kill() // it may have ended
		_ = c.cmd.Wait()
	})
	return c
}

// stored waits until the child has stored more than n records, and returns
// what it says of itself.
func (c *child) stored(n uint64) (stored, fenced, rewinds uint64) {
	c.t.Helper()
	for stored <= n {
		if !c.lines.Scan() {
			c.t.Fatal("the writer has ended")
		}
		if _, err := fmt.Sscan(c.lines.Text(), &stored, &fenced, &rewinds); err != nil {
			c.t.Fatalf("the writer said %q", c.lines.Text())
		}
	}
	return stored, fenced, rewinds
}
