package main

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/schema"
)

// FuzzSession sends arbitrary bytes to a connected session. Nothing panics
// (the harness looks at the log), and every command with an id is answered
// once, or the connection is closed with a code of the protocol.
func FuzzSession(f *testing.F) {
	h := start(f)
	for _, cmd := range []*command{
		subscribeTo("a"), recoverFrom("a", 1, "x"), publishTo("a", `{"text":"hi"}`), publishTo("a", `{"type":"edit"}`),
		{Unsubscribe: &unsubscribeRequest{Channel: "a"}}, {Ping: &pingRequest{}}, {Connect: &protocol.ConnectRequest{Token: "x"}},
		{History: &historyRequest{Channel: "a", Limit: -1, Reverse: true, Since: &position{Offset: 9}}},
		{Presence: &protocol.PresenceRequest{Channel: "a"}}, {PresenceStats: &protocol.PresenceStatsRequest{Channel: "a"}},
		{Rpc: &protocol.RPCRequest{Method: "x", Data: protocol.Raw("1")}}, {Send: &protocol.SendRequest{Data: protocol.Raw("1")}},
		rpcOf("chat.send", `{"channel":"a","text":"hi","key":"k","reply_to":1}`), rpcOf("chat.send", `{"channel":"a","data":{"x":1}}`),
		rpcOf("chat.typing", `{"channel":"a"}`),
		{Refresh: &protocol.RefreshRequest{Token: "x"}}, {SubRefresh: &protocol.SubRefreshRequest{Channel: "a"}},
	} {
		for _, codec := range codecs {
			cmd.Id = 7
			one := (&client{codec: codec}).encode(cmd)
			f.Add(uint8(codec), one)
			f.Add(uint8(codec), bytes.Join([][]byte{one, one}, codec.AppendDelimiter(nil)))
		}
	}
	f.Add(uint8(0), []byte("{}\n\n{\"id\":1,\"subscribe\":{\"channel\":\"b\",\"tf\":{}}}\n{\"id\":2,\"unsubscribe\":{\"channel\":\"b\"}}"))
	f.Add(uint8(0), []byte(`{"id":3,"publish":{"channel":"\ud800","data":[[[[`))
	f.Add(uint8(1), []byte{0, 0, 2, 8, 1})
	f.Fuzz(func(t *testing.T, kind uint8, frame []byte) {
		if len(frame) > h.opt.MaxSize {
			return
		}
		codec := schema.Codec(kind % uint8(schema.NumCodecs))
		c := dialTo(t, h.ledger, h.addr(), codec)
		defer c.cut()
		c.connect()
		waiting := make(map[uint32]int)
		var d schema.Decoder
		d.Reset(codec, bytes.Clone(frame)) // decoded strings point into it
		for {
			cmd, err := d.Next()
			refused := errors.Is(err, schema.ErrNotUnicode) // and answered by its id, whatever it is
			if err != nil && !refused {
				break
			}
			if cmd.Id != 0 && (refused || cmd.Send == nil) {
				waiting[cmd.Id]++
			}
		}
		c.sendRaw(codec.Binary(), string(frame))
		const last = 1<<32 - 1
		waiting[last]++
		// What was sent may have closed the connection already.
		_ = c.trySend(&command{Id: last, Ping: &pingRequest{}})
		_ = c.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		for len(waiting) > 0 {
			if !c.answered(t, waiting) {
				return
			}
		}
	})
}

// answered reads one message and takes what it answers off the list. It
// returns false at the end of the connection.
func (c *client) answered(t *testing.T, waiting map[uint32]int) bool {
	for len(c.rest) == 0 {
		if _, err := c.readFrame(); err != nil {
			if end, ok := err.(closed); !ok || end.code < 3000 && end.code != 1007 { //nolint:errorlint // never wrapped
				t.Fatalf("%v while %v waits", err, waiting)
			}
			return false
		}
	}
	raw := c.rest[0]
	c.rest = c.rest[1:]
	r := new(protocol.Reply)
	var err error
	if c.codec == schema.JSON {
		r, err = protocol.NewJSONReplyDecoder(raw).Decode()
	} else {
		err = r.UnmarshalCF(raw)
	}
	if err != nil {
		t.Fatalf("received %q: %v", raw, err)
	}
	if r.Id == 0 {
		return true // a push
	}
	if waiting[r.Id]--; waiting[r.Id] < 0 {
		t.Fatalf("answered twice, or an answer to nothing: %q", raw)
	}
	if waiting[r.Id] == 0 {
		delete(waiting, r.Id)
	}
	return true
}
