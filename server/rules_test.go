package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/channels"
)

// rules are those of a configuration file.
func rules(t testing.TB, file string) *channels.Namespaces {
	t.Helper()
	n, err := channels.Parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The rules change under members: who may not be there any more is taken out,
// and a file that cannot be meant changes nothing.
func TestReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules.json")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"namespaces":{"open":{},"club":{}}}`)
	h := start(t, func(o *options) { o.Config, o.failing = path, true })
	c := h.client(schema.JSON)
	c.subscribe("open:a")
	c.subscribe("club:a")
	write(`{"namespaces":{"open":{},"club":{"subscribe":"users"}}}`)
	h.node.Reload()
	p, err := c.tryPush()
	if err != nil || p.Unsubscribe == nil || p.Channel != "club:a" || p.Unsubscribe.Code != schema.UnsubscribeServer {
		t.Fatalf("push %v, %v", p, err)
	}
	c.fails(&protocol.Command{Subscribe: &protocol.SubscribeRequest{Channel: "club:a"}}, 103)
	write(`{"namespaces":{"open":{},"club":{"subscribe":"anyone","colour":"red"}}}`)
	h.node.Reload()
	c.fails(&protocol.Command{Subscribe: &protocol.SubscribeRequest{Channel: "club:a"}}, 103)
	c.publish("open:a", `"still here"`)
	if got := c.push("open:a"); string(got.Data) != `"still here"` {
		t.Errorf("got %s", got.Data)
	}
	write(`{"namespaces":{"open":{},"club":{}}}`)
	h.node.Reload()
	c.subscribe("club:a")
}
