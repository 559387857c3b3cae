package main

import (
	"bytes"
	"testing"

	"github.com/centrifugal/protocol"
	"github.com/centrifugal/protocol/cfjson"

	"github.com/hubbub-chat/hubbub/loadgen/check"
	"github.com/hubbub-chat/hubbub/schema"
)

var testPush = func() []byte {
	var enc schema.Encoder
	data := check.Payload{Publisher: 12, N: 345, At: 1_800_000_000_000_000_000, Lag: 6789}.Append(nil, "0123abcd", 200)
	return enc.AppendPush(nil, schema.JSON, &schema.Message{
		Room: "loadgen-0123abcd-0", Offset: 1_800_000_000_001_024, User: "alice", Client: "c0ffee", Data: data,
	})
}()

// FuzzPush: what the scanner accepts it reads as the decoder does.
func FuzzPush(f *testing.F) {
	f.Add(testPush)
	for _, s := range []string{
		`{"push":{"channel":"a","pub":{"data":{},"offset":1}}}`,
		`{"push":{"channel":"a","pub":{"data":"x","info":{"user":"u","client":"c","conn_info":{"a":[1,2]}},"offset":18446744073709551615}}}`,
		`{"push":{"channel":"a\"b","pub":{"data":{},"offset":1}}}`,
		`{"push":{"channel":"a","pub":{"data":null,"offset":1}}}`,
		`{"push":{"channel":"a","pub":{"data":{"x":"\n}"},"offset":1,"tags":{"a":"b"}}}}`,
		`{"push":{"channel":"a","pub":{"data":{},"offset":1,"offset":2}}}`,
		`{"push":{"channel":"ä","pub":{"data":{},"offset":01}}}`,
		`{"push":{"channel":"a","pub":{"data":{},"offset":null}}}`,
		`{"push":{"channel":"a","join":{"info":{"user":"u","client":"c"}}}}`,
		`{"id":1,"publish":{}}`,
		`{}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		var reply protocol.Reply
		err := cfjson.Unmarshal(msg, &reply, 0)
		if id, ok := scanAck(msg); ok && (err != nil || reply.Id != id || reply.Publish == nil || reply.Error != nil) {
			t.Fatalf("ack %d, the decoder says %v, %v", id, &reply, err)
		}
		p, ok := scanPush(msg)
		if !ok {
			return
		}
		if err != nil || reply.Push == nil || reply.Push.Pub == nil {
			t.Fatalf("accepted what the decoder does not: %v", err)
		}
		if got := reply.Push; got.Channel != string(p.channel) || got.Pub.Offset != p.offset || !bytes.Equal(got.Pub.Data, p.data) {
			t.Fatalf("read %q %q %d, the decoder %q %q %d", p.channel, p.data, p.offset, got.Channel, got.Pub.Data, got.Pub.Offset)
		}
	})
}

// TestPushForms: what servers write is taken by the scanner, not left to the
// decoder.
func TestPushForms(t *testing.T) {
	var enc schema.Encoder
	for _, m := range []schema.Message{
		{Room: "a", Offset: 1, Data: []byte(`{}`)},
		{Room: "a", Offset: 1, Data: []byte(`{"a":"}\""}`), User: "u"},
		{Room: "a:b-c", Offset: 1 << 60, Data: []byte(`[1, 2]`), User: "u", Client: "c", Info: []byte(`{"name":"x"}`)},
	} {
		p, ok := scanPush(enc.AppendPush(nil, schema.JSON, &m))
		if !ok || string(p.channel) != m.Room || p.offset != m.Offset || !bytes.Equal(p.data, m.Data) {
			t.Errorf("%+v read as %+v, %t", m, p, ok)
		}
	}
	if id, ok := scanAck(schema.JSON.AppendReply(nil, &protocol.Reply{Id: 7, Publish: &protocol.PublishResult{}})); !ok || id != 7 {
		t.Errorf("ack read as %d, %t", id, ok)
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	var out []byte
	if n := testing.AllocsPerRun(1000, func() {
		p, ok := scanPush(testPush)
		if !ok {
			t.Fatal("not taken")
		}
		said, ok := check.ParsePayload(p.data, "0123abcd", check.Exactly(200))
		if !ok {
			t.Fatal("not parsed")
		}
		out = said.Append(out[:0], "0123abcd", 200)
	}); n > 0 {
		t.Fatalf("%v allocations a message", n)
	}
}

func BenchmarkPush(b *testing.B) {
	b.SetBytes(int64(len(testPush)))
	for b.Loop() {
		p, _ := scanPush(testPush)
		if _, ok := check.ParsePayload(p.data, "0123abcd", check.Exactly(200)); !ok {
			b.Fatal("not parsed")
		}
	}
}

func BenchmarkPushDecoder(b *testing.B) {
	b.SetBytes(int64(len(testPush)))
	for b.Loop() {
		var reply protocol.Reply
		if cfjson.Unmarshal(testPush, &reply, 0) != nil {
			b.Fatal("not decoded")
		}
	}
}
