package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/schema"
)

func rpcOf(method, data string) *command {
	return &command{Rpc: &protocol.RPCRequest{Method: method, Data: protocol.Raw(data)}}
}

// chatSent is the result of a chat.send.
type chatSent struct {
	Offset    uint64
	Duplicate bool
}

// says is what a chat.send publishes.
func says(call *protocol.RPCRequest) (room, data string) {
	var send struct {
		Channel    string
		Text, Data json.RawMessage
		ReplyTo    uint64 `json:"reply_to"`
	}
	if call.Method != "chat.send" || json.Unmarshal(call.Data, &send) != nil {
		return "", ""
	}
	data = string(send.Data)
	if send.Text != nil {
		data = fmt.Sprintf(`{"text":%s}`, send.Text)
	}
	if fields, ok := strings.CutPrefix(data, "{"); ok && send.ReplyTo > 0 {
		data = fmt.Sprintf(`{"reply_to":%d,%s`, send.ReplyTo, fields)
		if strings.TrimSpace(fields) == "}" {
			data = fmt.Sprintf(`{"reply_to":%d}`, send.ReplyTo)
		}
	}
	return send.Channel, oneLine([]byte(data))
}

// chatSend calls chat.send, which publishes want.
func (c *client) chatSend(room, rest, want string) chatSent {
	c.t.Helper()
	r := c.ok(rpcOf("chat.send", fmt.Sprintf(`{"channel":%q,%s}`, room, rest)))
	var sent chatSent
	c.must(json.Unmarshal(r.Rpc.Data, &sent))
	if !sent.Duplicate && sent.Offset > 0 {
		c.ledger.acked(room, want)
	}
	return sent
}

// What is sent by RPC arrives like what is published.
func TestChatSend(t *testing.T) {
	h := start(t, withRules(t, `{"namespaces":{"typing":{"ephemeral":true}}}`))
	bothCodecs(t, func(t *testing.T, codec schema.Codec) {
		room := strings.ReplaceAll(roomOf(t), ":", "-") // no namespace
		a, b := h.client(codec), h.client(codecs[1-codec])
		a.t = t
		a.subscribe(room)
		b.subscribe(room)
		for _, c := range []struct{ says, want string }{
			{`"text":"hi"`, `{"text":"hi"}`},
			{`"text":"<b>&\u2028 \ud800 \"é"`, `{"text":"<b>&\u2028 \ud800 \"é"}`},
			{`"text":"re","reply_to":1800000000001024`, `{"reply_to":1800000000001024,"text":"re"}`},
			{`"data":{"type":"text","x":[1, 2]}`, `{"type":"text","x":[1, 2]}`},
			{`"data":{"n":1},"reply_to":7,"colour":"red"`, `{"reply_to":7,"n":1}`},
			{`"data":{ },"reply_to":7`, `{"reply_to":7}`},
			{`"data":{}`, `{}`},
		} {
			sent := a.chatSend(room, c.says, c.want)
			for _, who := range []*client{a, b} {
				p := who.push(room)
				if string(p.Data) != c.want || p.Offset != sent.Offset || p.Info == nil || p.Info.Client != a.id || p.Key != "" {
					t.Errorf("sent %s, answered %+v, received %v; want %s", c.says, sent, p, c.want)
				}
			}
		}

		// What is not kept has no offset.
		a.subscribe("typing:" + room)
		if r := a.ok(rpcOf("chat.send", `{"channel":"typing:`+room+`","text":"hi","key":"k"}`)); string(r.Rpc.Data) != `{"duplicate":false}` {
			t.Errorf("in an ephemeral channel: %s", r.Rpc.Data)
		}
	})
}

func TestChatSendRefuses(t *testing.T) {
	h := start(t, withRules(t, `{"namespaces":{"news":{"publish":"nobody"}}}`))
	c := h.client(schema.Protobuf) // it carries any bytes
	for _, tc := range []struct {
		name, data string
		code       uint32
	}{
		{"nothing", ``, 107},
		{"null", `null`, 107},
		{"no object", `[]`, 107},
		{"not JSON", `{"channel":`, 107},
		{"no channel", `{"text":"hi"}`, 107},
		{"bad channel", `{"channel":" a","text":"hi"}`, 107},
		{"unknown namespace", `{"channel":"unknown:a","text":"hi"}`, 102},
		{"not allowed", `{"channel":"news:a","text":"hi"}`, 103},
		{"private", `{"channel":"$team","text":"hi"}`, 103},
		{"direct message of others", `{"channel":"@a,b","text":"hi"}`, 103},
		{"neither text nor data", `{"channel":"a"}`, 107},
		{"text and data", `{"channel":"a","text":"hi","data":{}}`, 107},
		{"empty text", `{"channel":"a","text":""}`, 107},
		{"text that is none", `{"channel":"a","text":12345}`, 107},
		{"data that is no object", `{"channel":"a","data":[1]}`, 107},
		{"data null", `{"channel":"a","data":null}`, 107},
		{"data with a bad byte", `{"channel":"a","data":{"x":"` + "\xff" + `"}}`, 107},
		{"reserved type", `{"channel":"a","data":{"type":"edit"}}`, 107},
		{"reserved type behind a reply", `{"channel":"a","data":{"type":"delete"},"reply_to":1}`, 107},
		{"key that is no string", `{"channel":"a","text":"hi","key":1}`, 107},
		{"long key", `{"channel":"a","text":"hi","key":"` + strings.Repeat("k", 256) + `"}`, 106},
		{"reply to nothing", `{"channel":"a","text":"hi","reply_to":-1}`, 107},
		{"reply to no offset", `{"channel":"a","text":"hi","reply_to":9007199254740992}`, 107},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c.t = t
			c.fails(rpcOf("chat.send", tc.data), tc.code)
		})
	}
	c.fails(rpcOf("chat.typing", `{"channel":"news:a"}`), 103)
	c.fails(rpcOf("chat.dance", `{"channel":"a"}`), 108)
	if top := c.history(&protocol.HistoryRequest{Channel: "a"}).Offset; top != 0 {
		t.Errorf("something was stored, at %d", top)
	}
}

// A retry with the same key is answered with the first one's offset, and is
// neither delivered nor stored.
func TestChatSendKey(t *testing.T) {
	h := start(t, withKey)
	alice := func() *client {
		c := h.dial(schema.JSON)
		c.id = c.ok(&command{Connect: &protocol.ConnectRequest{Token: tokenOf(t, "alice")}}).Connect.Client
		return c
	}
	a, other := alice(), alice() // a retry may come over another connection
	a.subscribe("r")
	first := a.chatSend("r", `"text":"1","key":"k"`, `{"text":"1"}`)
	if first.Duplicate || first.Offset == 0 {
		t.Errorf("the first was answered %+v", first)
	}
	for _, c := range []*client{a, other} {
		if again := c.chatSend("r", `"text":"1","key":"k"`, `{"text":"1"}`); !again.Duplicate || again.Offset != first.Offset {
			t.Errorf("the retry was answered %+v, the first %+v", again, first)
		}
	}
	a.fails(rpcOf("chat.send", `{"channel":"r","text":"2","key":"k"}`), 107)

	// Both in one frame: the first has no offset yet when the second comes.
	cmds := []*command{
		rpcOf("chat.send", `{"channel":"r","text":"3","key":"l"}`),
		rpcOf("chat.send", `{"channel":"r","text":"3","key":"l"}`),
	}
	a.send(cmds...)
	var got [2]chatSent
	for i, cmd := range cmds {
		r, err := a.tryReply(cmd.Id)
		if err != nil || r.Error != nil {
			t.Fatalf("%v, %v", r, err)
		}
		a.must(json.Unmarshal(r.Rpc.Data, &got[i]))
	}
	if got[0].Offset != got[1].Offset || got[0].Duplicate || !got[1].Duplicate {
		t.Errorf("answered %+v", got)
	}

	// Others have keys of their own.
	bob := h.dial(schema.JSON)
	bob.ok(&command{Connect: &protocol.ConnectRequest{Token: tokenOf(t, "bob")}})
	if s := bob.chatSend("r", `"text":"4","key":"k"`, `{"text":"4"}`); s.Duplicate {
		t.Errorf("another user's key was answered %+v", s)
	}

	for i, want := range []struct{ data, key string }{{`{"text":"1"}`, "k"}, {`{"text":"3"}`, "l"}, {`{"text":"4"}`, "k"}} {
		if p := a.push("r"); string(p.Data) != want.data || p.Key != want.key {
			t.Errorf("publication %d is %v, want %v", i, p, want)
		}
	}
	if pubs := a.history(&protocol.HistoryRequest{Channel: "r", Limit: -1}).Publications; len(pubs) != 3 {
		t.Errorf("history has %v", pubs)
	}
}

// Who types is told to the members, and to nobody later.
func TestChatTyping(t *testing.T) {
	h := start(t)
	bothCodecs(t, func(t *testing.T, codec schema.Codec) {
		room := roomOf(t)
		a, b := h.client(codec), h.client(codec)
		b.subscribe(room)
		if r := a.ok(rpcOf("chat.typing", fmt.Sprintf(`{"channel":%q}`, room))); string(r.Rpc.Data) != `{}` {
			t.Errorf("answered %s", r.Rpc.Data)
		}
		_, r, err := b.next()
		if err == nil || r.Push == nil || r.Push.Pub == nil {
			t.Fatalf("received %v, %v; want an event without an offset", r, err)
		}
		if p := r.Push.Pub; p.Offset != 0 || string(p.Data) != `{"type":"typing"}` || p.Info == nil || p.Info.Client != a.id {
			t.Errorf("received %v", p)
		}
		if h := a.history(&protocol.HistoryRequest{Channel: room, Limit: -1}); len(h.Publications) != 0 || h.Offset != 0 {
			t.Errorf("it was kept: %v", h)
		}
	})
}
