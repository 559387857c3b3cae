package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/centrifugal/protocol"
	"github.com/gobwas/ws"

	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/sink"
)

// levels is a list of so many levels, or what is inside them.
func levels(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

// A reserved type with so many levels behind it that parsers disagree, and data
// of more levels than others can read, are refused with 107 at every door of
// the client protocol. Nothing of them is stored or seen.
func TestDeepData(t *testing.T) {
	h := start(t, withRules(t, `{"namespaces":{"live":{"ephemeral":true}}}`))
	bothCodecs(t, func(t *testing.T, codec schema.Codec) {
		room := strings.ReplaceAll(roomOf(t), ":", "-")
		c := h.client(codec)
		c.t = t
		c.subscribe(room)
		for _, n := range []int{schema.MaxLevels + 1, 129, 1000, 9_999, 10_001, 25_000} {
			for _, kind := range []string{"text", "delete", "edit", "react", "typing", "read"} {
				data := fmt.Sprintf(`{"type":%q,"of":7,"x":%s}`, kind, levels(n-1))
				c.fails(publishTo(room, data), 107)
				c.fails(publishTo("live:a", data), 107)
			}
			c.fails(publishTo(room, levels(n)), 107)
			c.fails(rpcOf("chat.send", fmt.Sprintf(`{"channel":%q,"data":{"type":"delete","x":%s}}`, room, levels(n-1))), 107)
			c.fails(rpcOf("chat.send", fmt.Sprintf(`{"channel":%q,"text":"hi","x":%s}`, room, levels(n))), 107)
			c.fails(rpcOf("chat.typing", fmt.Sprintf(`{"channel":%q,"x":%s}`, room, levels(n))), 107)
		}
		for _, escaped := range []string{`{"ty\u0070e":"delete"}`, `{"type":"text","type":"delete"}`, `{"type":"\u0064elete","of":1}`} {
			c.fails(publishTo(room, escaped), 107)
		}
		// As deep as may be, and what only looks reserved.
		for i, data := range []string{levels(schema.MaxLevels), `{"Type":"delete"}`, `{"x":{"type":"delete"}}`, `{"type":["delete"]}`} {
			c.publish(room, data)
			if p := c.push(room); string(p.Data) != data {
				t.Errorf("number %d arrived as %.80s", i, p.Data)
			}
		}
		deep := fmt.Sprintf(`{"x":%s}`, levels(schema.MaxLevels-1))
		c.chatSend(room, `"data":`+deep, deep)
		if p := c.push(room); string(p.Data) != deep {
			t.Errorf("the deepest chat.send arrived as %.80s", p.Data)
		}
		if pubs := c.history(&protocol.HistoryRequest{Channel: room, Limit: -1}).Publications; len(pubs) != 5 {
			t.Errorf("%d messages are stored, want 5", len(pubs))
		}
	})
}

// The same of the server API, in its form. One command of a batch does not cost
// the others anything.
func TestDeepDataAPI(t *testing.T) {
	b := startAPI(t)
	for _, n := range []int{schema.MaxLevels + 1, 1000, 9_999, 10_001, 200_000} {
		if deep := levels(n); n < 30_000 { // --max-size is another limit
			b.fails("publish", fmt.Sprintf(`{"channel":"a","data":%s}`, deep), 107)
			b.fails("broadcast", fmt.Sprintf(`{"channels":["a","b"],"data":%s}`, deep), 107)
		}
		b.fails("publish", fmt.Sprintf(`{"channel":"a","data":1,"tags":%s}`, levels(n)), 107)
		b.fails("subscribe", fmt.Sprintf(`{"channel":"a","user":"u","info":%s}`, levels(n)), 107)
		b.fails("subscribe", fmt.Sprintf(`{"channel":"a","user":"u","data":%s}`, levels(n)), 107)
		b.fails("rpc", fmt.Sprintf(`{"method":"m","params":%s}`, levels(n)), 107)
		b.h.ledger.sent("b", fmt.Sprint(n)) // which cannot read such a body
		status, answer := b.post("batch", fmt.Sprintf(`{"commands":[{"publish":{"channel":"b","data":%d}},{"publish":{"channel":"b","data":%s}},
			{"history":{"channel":"b","limit":1,"reverse":true}}]}`, n, levels(n)))
		var r struct {
			Replies []struct {
				Publish *struct{ Offset uint64 }
				History *struct {
					Publications []struct{ Data json.RawMessage }
				}
				Error *struct{ Code uint32 }
			}
		}
		if err := json.Unmarshal([]byte(answer), &r); err != nil || status != http.StatusOK || len(r.Replies) != 3 {
			t.Fatalf("%d levels in a batch: %d %.300s, %v", n, status, answer, err)
		}
		if p := r.Replies; p[0].Publish == nil || p[1].Error == nil || p[1].Error.Code != 107 || p[2].History == nil || len(p[2].History.Publications) != 1 ||
			string(p[2].History.Publications[0].Data) != fmt.Sprint(n) {
			t.Errorf("%d levels in a batch were answered %.300s", n, answer)
		}
	}
	b.ok("publish", fmt.Sprintf(`{"channel":"a","data":%s}`, levels(schema.MaxLevels)))
	b.ok("publish", `{"channel":"a","data":{"type":"delete","of":1}}`) // a back end may
	if pubs := b.ok("history", `{"channel":"a","limit":-1}`)["publications"].([]any); len(pubs) != 2 {
		t.Errorf("%d messages are stored, want 2", len(pubs))
	}
}

// What is in the store already, from versions without the limit or from other
// programs, does not make the history of its room unreadable: neither a page,
// nor a recovery, nor a batch.
func TestUnreadableStored(t *testing.T) {
	b := startAPI(t)
	room := "a"
	c := b.h.client(schema.JSON)
	c.publish(room, `"first"`)
	top := c.history(&protocol.HistoryRequest{Channel: room, Limit: 1, Reverse: true}).Offset
	c.cut()
	b.h.stop()
	store, err := sink.OpenSQLite(b.h.opt.Data, sink.SyncNormal, nil)
	if err != nil {
		t.Fatal(err)
	}
	stored := []string{levels(20_000), levels(1000), `{"cut":`, "\"\xff\"", levels(100), `{"type":"delete","of":1}`, `"last"`}
	shown := []string{`"first"`, `{"type":"unreadable"}`, `{"type":"unreadable"}`, `{"type":"unreadable"}`, `{"type":"unreadable"}`, levels(100), `{"type":"delete","of":1}`, `"last"`}
	var batch []*schema.Message
	for i, data := range stored {
		offset := top + uint64(i) + 1
		batch = append(batch, &schema.Message{Room: room, Offset: offset, Prev: offset - 1, User: "u", Client: "c", Info: []byte(levels(9000)), Data: []byte(data)})
	}
	if err := store.Append(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	b.h.run()

	check := func(what string, got []string) {
		t.Helper()
		if strings.Join(got, "\n") != strings.Join(shown, "\n") {
			t.Errorf("%s is %.500q", what, got)
		}
	}
	var pages struct {
		Result struct {
			Publications []struct{ Data json.RawMessage }
		}
		Replies []struct {
			History struct {
				Publications []struct{ Data json.RawMessage }
			}
		}
	}
	for range 2 { // out of the store, and out of memory
		for _, ask := range []string{"history", "batch"} {
			body := `{"channel":"a","limit":-1}`
			if ask == "batch" {
				body = `{"commands":[{"history":` + body + `}]}`
			}
			status, answer := b.post(ask, body)
			if err := json.Unmarshal([]byte(answer), &pages); err != nil || status != http.StatusOK {
				t.Fatalf("%s: %d %.200s, %v", ask, status, answer, err)
			}
			list := pages.Result.Publications
			if ask == "batch" {
				list = pages.Replies[0].History.Publications
			}
			var got []string
			for _, p := range list {
				got = append(got, string(p.Data))
			}
			check(ask, got)
		}
		bothCodecs(t, func(t *testing.T, codec schema.Codec) {
			c := b.h.client(codec)
			c.t = t
			var got []string
			for _, p := range c.history(&protocol.HistoryRequest{Channel: room, Limit: -1}).Publications {
				got = append(got, string(p.Data))
			}
			check("a page", got)
			got = nil
			for _, p := range c.ok(recoverFrom(room, 0, "")).Subscribe.Publications {
				got = append(got, string(p.Data))
			}
			check("a recovery", got)
		})
	}
	b.h.ledger = newLedger() // it would want to know who sent what was written behind its back
}

// Half a surrogate pair in a name, which decoders turn into U+FFFD and so into
// another name, is refused with 107 at every door and costs nothing else: not
// the connection, and not the other commands of a frame.
func TestHalfPairInNames(t *testing.T) {
	b := startAPI(t)
	const mark = "QQQ" // as long as half a pair in UTF-8
	for _, cmd := range []*command{
		subscribeTo("r" + mark), {Unsubscribe: &unsubscribeRequest{Channel: "r" + mark}}, publishTo("r"+mark, `"x"`),
		{History: &historyRequest{Channel: "r" + mark}}, {Presence: &protocol.PresenceRequest{Channel: "r" + mark}},
		{PresenceStats: &protocol.PresenceStatsRequest{Channel: "r" + mark}}, {SubRefresh: &protocol.SubRefreshRequest{Channel: "r" + mark, Token: "t"}},
		{Rpc: &protocol.RPCRequest{Method: "chat" + mark, Data: protocol.Raw("{}")}},
		rpcOf("chat.send", `{"channel":"r`+mark+`","text":"hi"}`), rpcOf("chat.send", `{"channel":"r","text":"hi","key":"`+mark+`"}`),
		rpcOf("chat.typing", `{"channel":"r`+mark+`"}`),
	} {
		for _, codec := range codecs {
			c := b.h.client(codec)
			c.failsWithHalfPair(cmd, mark)
		}
	}
	// A rpc's data are JSON in Protobuf, too.
	c := b.h.client(schema.Protobuf)
	c.fails(rpcOf("chat.send", `{"channel":"r\ud800","text":"hi"}`), 107)
	c.fails(rpcOf("chat.typing", `{"channel":"\uDFFFr"}`), 107)
	// It is legal where it names nothing, and so is U+FFFD where it was meant.
	c = b.h.client(schema.JSON)
	c.publish("r\ufffd", `{"text":"\ud800"}`)
	c.chatSend("r\ufffd", `"text":"\udfff"`, `{"text":"\udfff"}`)
	if n := len(c.history(&protocol.HistoryRequest{Channel: "r\ufffd", Limit: -1}).Publications); n != 2 {
		t.Errorf("the room named U+FFFD has %d messages, want 2", n)
	}

	const half = `\ud800`
	for _, name := range []string{half, `\uDfFf`, `\ud800\u0041`, `\udc00\ud800`} {
		b.fails("publish", `{"channel":"r`+name+`","data":1}`, 107)
		b.fails("publish", `{"channel":"r","data":1,"idempotency_key":"`+name+`"}`, 107)
		b.fails("history", `{"channel":"r`+name+`"}`, 107)
		b.fails("presence", `{"channel":"r`+name+`"}`, 107)
		b.fails("presence_stats", `{"channel":"r`+name+`"}`, 107)
		b.fails("channels", `{"pattern":"r`+name+`"}`, 107)
		b.fails("subscribe", `{"channel":"r`+name+`","user":"u"}`, 107)
		b.fails("subscribe", `{"channel":"r","user":"u`+name+`"}`, 107)
		b.fails("unsubscribe", `{"channel":"r`+name+`","user":"u"}`, 107)
		b.fails("disconnect", `{"user":"u`+name+`"}`, 107)
		b.fails("disconnect", `{"user":"u","client":"`+name+`"}`, 107)
		b.fails("refresh", `{"user":"u`+name+`"}`, 107)
		b.fails("block_user", `{"user":"u`+name+`"}`, 107)
		b.fails("unblock_user", `{"user":"u`+name+`"}`, 107)
		b.fails("rpc", `{"method":"m`+name+`"}`, 107)
	}
	// A broadcast and a batch lose the one name alone.
	if s := fmt.Sprint(b.ok("broadcast", `{"channels":["b","r`+half+`"],"data":1}`)["responses"]); strings.Count(s, "offset") != 1 || !strings.Contains(s, "107") {
		t.Errorf("a broadcast was answered %s", s)
	}
	_, answer := b.post("batch", `{"commands":[{"publish":{"channel":"b","data":2}},{"publish":{"channel":"r`+half+`","data":2}}]}`)
	if strings.Count(answer, `"offset"`) != 1 || !strings.Contains(answer, "107") {
		t.Errorf("a batch was answered %s", answer)
	}
	b.ok("publish", `{"channel":"c","data":"\ud800"}`)
	for channel := range b.ok("channels", `{}`)["channels"].(map[string]any) {
		if strings.Contains(channel, "\ufffd") {
			t.Errorf("somebody is in %q", channel)
		}
	}
	// A connect is closed: nothing is answered behind it.
	c = b.h.dial(schema.JSON)
	c.sendRaw(false, `{"id":1,"connect":{"subs":{"\ud800":{}}}}`)
	if _, r, err := c.next(); err != nil || r.Error == nil || r.Error.Code != 107 {
		t.Errorf("such a connect was answered %v, %v", r, err)
	}
	c.expectClose(schema.CloseBadRequest.Code)
}

// failsWithHalfPair sends a command with half a pair where the mark is, between
// others in one frame, and wants 107 for it alone.
func (c *client) failsWithHalfPair(cmd *command, mark string) {
	c.t.Helper()
	before, after := &command{Ping: &pingRequest{}}, &command{Ping: &pingRequest{}}
	cmd.Id = 0
	frame := c.encode(before, cmd, after)
	half := "\xed\xa0\x80"
	if c.codec == schema.JSON {
		half = `\ud800`
	}
	frame = bytes.Replace(frame, []byte(mark), []byte(half), 1)
	c.mu.Lock()
	for _, sent := range []*command{before, cmd, after} {
		c.asked[sent.Id] = sent
	}
	c.mu.Unlock()
	op := ws.OpText
	if c.codec.Binary() {
		op = ws.OpBinary
	}
	c.must(c.writeFrame(op, frame))
	for _, sent := range []*command{before, cmd, after} {
		r, err := c.tryReply(sent.Id)
		if err != nil {
			c.t.Fatalf("%v of %q: %v", c.codec, frame, err)
		}
		if got := r.Error; (got != nil) != (sent == cmd) || got != nil && got.Code != 107 {
			c.t.Errorf("%v: %q was answered %v", c.codec, frame, r)
		}
	}
}

// A direct-message room by the wrong one of its two names is refused with the
// right one in the message, at every door: there is one room of two people.
func TestDirectRoomOrder(t *testing.T) {
	b := startAPI(t, withTokens)
	const wrong, right = "@bob,alice", "@alice,bob"
	alice := b.user(schema.JSON, "alice")
	for _, cmd := range []*command{
		subscribeTo(wrong), publishTo(wrong, `"x"`), {History: &historyRequest{Channel: wrong}}, {Presence: &protocol.PresenceRequest{Channel: wrong}},
		rpcOf("chat.send", `{"channel":"`+wrong+`","text":"hi"}`), rpcOf("chat.typing", `{"channel":"`+wrong+`"}`),
		{Subscribe: &subscribe{Channel: wrong, Token: "any"}},
	} {
		r, err := alice.tryCall(cmd)
		if err != nil || r.Error == nil || r.Error.Code != 107 || !strings.Contains(r.Error.Message, right) {
			t.Errorf("%v was answered %v, %v", cmd, r, err)
		}
	}
	for method, body := range map[string]string{
		"publish": `{"channel":"@bob,alice","data":1}`, "history": `{"channel":"@bob,alice"}`, "subscribe": `{"channel":"@bob,alice","user":"bob"}`,
	} {
		if _, answer := b.post(method, body); !strings.Contains(answer, "107") || !strings.Contains(answer, right) {
			t.Errorf("%s was answered %s", method, answer)
		}
	}
	token, err := (&tokenCmd{User: "bob", TTL: time.Hour, Channels: []string{right, wrong}, TokenKey: testSecret}).sign(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	bob := b.h.dial(schema.JSON)
	if subs := bob.ok(&command{Connect: &protocol.ConnectRequest{Token: token}}).Connect.Subs; len(subs) != 1 || subs[right] == nil {
		t.Errorf("a token's rooms are %v", subs)
	}
	alice.subscribe(right)
	alice.publish(right, `"to bob"`)
	b.ok("publish", `{"channel":"@alice,bob","data":"from the server"}`)
	alice.fails(publishTo("@alice,alice", `1`), 107)
}
