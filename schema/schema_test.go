package schema

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/centrifugal/protocol"
	"github.com/centrifugal/protocol/cfjson"
	"github.com/google/go-cmp/cmp"
)

func TestCheckChannel(t *testing.T) {
	for _, c := range []struct {
		name, channel string
		ok            bool
	}{
		{"plain", "lobby", true},
		{"namespace", "chat:42", true},
		{"direct", "@alice,bob", true},
		{"private", "$team", true},
		{"unicode", "зал-１", true},
		{"braces and inner space", "a {b} c", true},
		{"longest", strings.Repeat("x", 255), true},
		{"empty", "", false},
		{"too long", strings.Repeat("x", 256), false},
		{"not UTF-8", "a\xff", false},
		{"newline", "a\nb", false},
		{"null byte", "a\x00", false},
		{"C1 control", "a\u0085b", false},
		{"leading space", " a", false},
		{"trailing no-break space", "a\u00a0", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := CheckChannel(c.channel)
			if (err == nil) != c.ok {
				t.Fatalf("CheckChannel(%q) = %v", c.channel, err)
			}
			if err != nil && !errors.Is(err, ErrBadRequest) {
				t.Fatalf("error %v is not ErrBadRequest", err)
			}
		})
	}
}

func TestNextOffset(t *testing.T) {
	now := time.UnixMilli(1_764_000_000_123)
	first := NextOffset(0, now)
	if got := OffsetTime(first); !got.Equal(now) {
		t.Errorf("OffsetTime = %v, want %v", got, now)
	}
	if got := NextOffset(first, now); got != first+1 {
		t.Errorf("same millisecond: %d, want %d", got, first+1)
	}
	if got := NextOffset(first, now.Add(-time.Hour)); got != first+1 {
		t.Errorf("clock went back: %d, want %d", got, first+1)
	}
	const maxSafeInteger = 1<<53 - 1
	if got := NextOffset(0, time.Date(2248, 1, 1, 0, 0, 0, 0, time.UTC)); got > maxSafeInteger {
		t.Errorf("offset %d is not a safe integer in JavaScript", got)
	}
}

var testMessage = Message{
	Room: "lobby", Offset: 1_800_000_000_001_024, Prev: 1_800_000_000_000_000,
	User: "alice", Client: "c1", Info: []byte(`{"name":"Alice"}`), Data: []byte(`{"text":"hi"}`),
}

func TestAppendPush(t *testing.T) {
	var e Encoder
	got := string(e.AppendPush(nil, JSON, &testMessage))
	want := `{"push":{"channel":"lobby","pub":{"data":{"text":"hi"},"info":{"user":"alice","client":"c1","conn_info":{"name":"Alice"}},"offset":1800000000001024}}}`
	if got != want {
		t.Errorf("JSON push\n got %s\nwant %s", got, want)
	}
	server := Message{Room: "lobby", Offset: 7, Data: []byte(`1`)}
	got = string(e.AppendPush(nil, JSON, &server))
	if want := `{"push":{"channel":"lobby","pub":{"data":1,"offset":7}}}`; got != want {
		t.Errorf("a server's push after a user's\n got %s\nwant %s", got, want)
	}

	b := e.AppendPush([]byte("x"), Protobuf, &testMessage)
	r, err := protocol.NewProtobufReplyDecoder(b[1:]).Decode()
	if err != nil {
		t.Fatal(err)
	}
	if p := r.Push; p.Channel != "lobby" || p.Pub.Offset != testMessage.Offset || p.Pub.Info.User != "alice" || string(p.Pub.Data) != `{"text":"hi"}` {
		t.Errorf("Protobuf push decodes to %v", r)
	}
}

func TestDecoder(t *testing.T) {
	type pub struct {
		ID      uint32
		Channel string
		Data    string
	}
	for _, c := range []struct {
		name  string
		frame string
		want  []pub // publishes; other commands have an empty channel
		err   error
	}{
		{"id first", `{"id":3,"publish":{"channel":"a","data":{"x":1}}}`, []pub{{3, "a", `{"x":1}`}}, io.EOF},
		{"id last", `{"publish":{"channel":"a","data":1},"id":3}`, []pub{{3, "a", `1`}}, io.EOF},
		{"spaces", ` { "id" : 3 , "publish" : { "channel" : "a" , "data" : 1 } } `, []pub{{3, "a", `1`}}, io.EOF},
		{"two, the second without data", `{"id":1,"publish":{"channel":"a","data":1}}` + "\n" + `{"id":2,"publish":{"channel":"b"}}`, []pub{{1, "a", `1`}, {2, "b", ``}}, io.EOF},
		{"publish then ping", `{"id":1,"publish":{"channel":"a","data":1}}` + "\n" + `{"id":2,"ping":{}}` + "\n", []pub{{1, "a", `1`}, {ID: 2}}, io.EOF},
		{"publish null", `{"id":1,"publish":null}`, []pub{{ID: 1}}, io.EOF},
		{"pong", `{}`, []pub{{}}, io.EOF},
		{"unknown fields", `{"id":1,"colour":"red","publish":{"channel":"a","data":1,"size":3}}`, []pub{{1, "a", `1`}}, io.EOF},
		{"blank lines", "\n\n  \n", nil, io.EOF},
		{"not JSON", `hello`, nil, ErrMalformed},
		{"array", `[]`, nil, ErrMalformed},
		{"cut", `{"id":1,"publish":{"channel":"a","da`, nil, ErrMalformed},
		{"wrong type", `{"id":"one"}`, nil, ErrMalformed},
		{"negative id", `{"id":-1}`, nil, ErrMalformed},
		{"two values", `{"id":1}{"id":2}`, nil, ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d Decoder
			d.Reset(JSON, []byte(c.frame))
			var got []pub
			for {
				cmd, err := d.Next()
				if err != nil {
					if !errors.Is(err, c.err) {
						t.Fatalf("error %v, want %v", err, c.err)
					}
					break
				}
				p := pub{ID: cmd.Id}
				if cmd.Publish != nil {
					p.Channel, p.Data = cmd.Publish.Channel, string(cmd.Publish.Data)
				}
				got = append(got, p)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A command with a name that is not Unicode is one that can be answered, and
// those behind it are still to be had. Where nothing is named it does not matter.
func TestNamesThatAreNotUnicode(t *testing.T) {
	const half = `\ud83d`
	for _, c := range []struct {
		cmd string
		ok  bool
	}{
		{`"publish":{"channel":"` + half + `","data":1}`, false}, {`"publish":{"chann\u0065l":"a` + half + `b","data":1}`, false},
		{`"publish":{"data":1,"channel":"a\ude00\ud83d"}`, false}, {`"subscribe":{"channel":"\uDFFF"}`, false}, {`"connect":{"subs":{"` + half + `":{}}}`, false},
		{`"connect":{"name":"` + half + `"}`, false}, {`"history":{"channel":"a","since":{"epoch":"` + half + `"}}`, false}, {`"publish":{"` + half + `":1}`, false},
		{`"publish":{"channel":"a","data":"` + half + `"}`, true}, {`"publish":{"channel":"a","d\u0061ta":{"` + half + `":"` + half + `"}}`, true},
		{`"publish":{"channel":"\ud83d\ude00","data":1}`, true}, {`"publish":{"channel":"\\ud83d","data":1}`, true}, {`"publish":{"channel":"\ufffd","data":"` + half + `"}`, true},
		{`"rpc":{"method":"m","data":{"channel":"` + half + `"}}`, true}, {`"connect":{"data":{"name":"` + half + `"}}`, true}, {`"colour":"` + half + `","ping":{}`, true},
	} {
		var d Decoder
		d.Reset(JSON, []byte(`{"id":3,`+c.cmd+"}\n"+`{"id":4,"ping":{}}`))
		cmd, err := d.Next()
		if cmd == nil || cmd.Id != 3 || (err == nil) != c.ok || err != nil && !errors.Is(err, ErrBadRequest) {
			t.Errorf("%s: %v, %v", c.cmd, cmd, err)
		}
		if cmd, err = d.Next(); err != nil || cmd.Id != 4 {
			t.Errorf("behind %s: %v, %v", c.cmd, cmd, err)
		}
	}
	frame := encodePublish(Protobuf, "QQQ", "1")
	frame = append(bytes.Replace(frame, []byte("QQQ"), []byte("\xed\xa0\x80"), 1), encodePublish(Protobuf, "a", "1")...)
	var d Decoder
	d.Reset(Protobuf, frame)
	if cmd, err := d.Next(); cmd == nil || cmd.Id != 3 || !errors.Is(err, ErrNotUnicode) {
		t.Errorf("in Protobuf: %v, %v", cmd, err)
	}
	if cmd, err := d.Next(); err != nil || cmd.Publish.Channel != "a" {
		t.Errorf("behind it: %v, %v", cmd, err)
	}
}

// A frame of the largest size that is nothing but levels, or nothing but
// fields, is read or refused in time that grows with its length alone, on a
// stack of ordinary size.
func TestHostileFrames(t *testing.T) {
	const size = 1 << 20 // --max-size may be raised
	fill := func(before, open, inside, shut, after string) string {
		n := (size - len(before) - len(after)) / (len(open) + len(shut))
		return before + strings.Repeat(open, n) + inside + strings.Repeat(shut, n) + after
	}
	var filters []byte // inside each other, as a subscribe may bring them
	for len(filters) < 1<<14 {
		filters = append(binary.AppendUvarint([]byte{6<<3 | 2}, uint64(len(filters))), filters...)
	}
	for name, frame := range map[string]string{
		"lists in data":        fill(`{"id":1,"publish":{"channel":"a","data":`, "[", "", "]", `}}`),
		"objects in data":      fill(`{"id":1,"publish":{"channel":"a","data":`, `{"a":`, "1", "}", `}}`),
		"an unknown field":     fill(`{"id":1,"colour":`, "[", "", "]", `}`),
		"unknown in a command": fill(`{"id":1,"ping":{"colour":`, `[{"a":`, "1", "}]", `}}`),
		"not closed":           fill(`{"id":1,"publish":{"channel":"a","data":`, "[", "", "", ``),
		"filters":              fill(`{"id":1,"subscribe":{"channel":"a","tf":`, `{"nodes":[`, `{"op":"x"}`, "]}", `}}`),
		"commands":             fill("", `{"id":1,"publish":`, "1", "}", ""),
		"positions":            `{"id":1,"connect":{"subs":{` + fill("", `"a":{},`, `"b":{}`, "", "") + `}}}`,
		"half pairs":           `{"id":1,"publish":{"channel":"` + fill("", `\ud800`, "", "", "") + `","data":1}}`,
		"pairs and a half":     `{"id":1,"publish":{"data":"` + fill("", `\ud83d\ude00`, "", "", "") + `","channel":"\ud800"}}`,
		"backslashes":          `{"id":1,"publish":{"channel":"a","data":"` + fill("", `\\`, "", "", "") + `"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			var d Decoder
			d.Reset(JSON, []byte(frame))
			cmd, err := d.Next()
			if err == nil && cmd.Publish != nil {
				_, _ = CheckClientData(cmd.Publish.Data)
			}
		})
	}
	var d Decoder
	subscribe := append(binary.AppendUvarint([]byte{13<<3 | 2}, uint64(len(filters))), filters...)
	msg := append(binary.AppendUvarint([]byte{1 << 3, 1, 5<<3 | 2}, uint64(len(subscribe))), subscribe...)
	d.Reset(Protobuf, append(binary.AppendUvarint(nil, uint64(len(msg))), msg...))
	if _, err := d.Next(); !errors.Is(err, ErrMalformed) { // the library's limit
		t.Errorf("filters in Protobuf: %v", err)
	}
}

// A comment in the protocol module says that decoded strings alias the frame.
// The code copies, and sessions rely on that: the frame is the poller's.
func TestDecodedStringsAreCopies(t *testing.T) {
	for _, codec := range []Codec{JSON, Protobuf} {
		frame := encodePublish(codec, "lobby", `{"text":"hi"}`)
		var d Decoder
		d.Reset(codec, frame)
		cmd, err := d.Next()
		if err != nil {
			t.Fatal(err)
		}
		channel := cmd.Publish.Channel
		clear(frame)
		if channel != "lobby" {
			t.Errorf("%v: channel became %q when the frame was overwritten", codec, channel)
		}
	}
}

func encodePublish(codec Codec, channel, data string) []byte {
	cmd := &protocol.Command{Id: 3, Publish: &protocol.PublishRequest{Channel: channel, Data: protocol.Raw(data)}}
	var b []byte
	var err error
	if codec == JSON {
		b, err = protocol.NewJSONCommandEncoder().Encode(cmd)
	} else {
		b, err = protocol.NewProtobufCommandEncoder().Encode(cmd)
	}
	if err != nil {
		panic(err)
	}
	return b
}

func TestCheckData(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{`{"a":1}`, `{"a":1}`},
		{"{\n\"a\":\n1}", `{"a":1}`},
		{`null`, `null`},
		{`"x"`, `"x"`},
		{``, ``}, {"\n", ``}, {`{`, ``}, {`1 2`, ``}, {`1,"b":2`, ``}, {"\"a\nb\"", ``}, {`NaN`, ``},
	} {
		got, err := CheckData([]byte(c.in))
		if c.out == "" && err == nil || c.out != "" && string(got) != c.out {
			t.Errorf("CheckData(%q) = %q, %v; want %q", c.in, got, err, c.out)
		}
	}
}

func TestHotPathAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, codec := range []Codec{JSON, Protobuf} {
		var d Decoder
		frame := encodePublish(codec, "lobby", `{"text":"`+strings.Repeat("x", 100)+`"}`)
		if n := testing.AllocsPerRun(100, func() {
			d.Reset(codec, frame)
			if _, err := d.Next(); err != nil {
				t.Fatal(err)
			}
		}); n > 1 {
			t.Errorf("%v: decoding a publish allocates %v times, want at most 1", codec, n)
		}
		var e Encoder
		buf := make([]byte, 0, 1024)
		if n := testing.AllocsPerRun(100, func() { buf = e.AppendPush(buf[:0], codec, &testMessage) }); n > 0 {
			t.Errorf("%v: encoding a push allocates %v times, want 0", codec, n)
		}
	}
}

func FuzzDecoder(f *testing.F) {
	for _, codec := range []Codec{JSON, Protobuf} {
		f.Add(uint8(codec), encodePublish(codec, "lobby", `{"text":"hi"}`))
	}
	f.Add(uint8(JSON), []byte(`{"id":1,"connect":{"token":"x","subs":{"a":{"recover":true}}}}`+"\n{}"))
	f.Add(uint8(JSON), []byte(`{"publish":{"channel":"\ud800","data":[[[[`))
	f.Fuzz(func(t *testing.T, c uint8, frame []byte) {
		codec := Codec(c % uint8(NumCodecs))
		var d Decoder
		d.Reset(codec, frame)
		for {
			cmd, err := d.Next()
			if errors.Is(err, ErrNotUnicode) {
				continue
			}
			if err != nil {
				return
			}
			// The reused request must hold what a fresh decode gives.
			if codec == JSON && cmd.Publish != nil && len(cmd.Publish.Data) > 0 && !cfjson.Valid(cmd.Publish.Data) {
				t.Fatalf("decoded data %q is not JSON", cmd.Publish.Data)
			}
			b := codec.AppendReply(nil, &protocol.Reply{Id: cmd.Id})
			if codec == JSON && bytes.IndexByte(b, '\n') >= 0 {
				t.Fatal("a reply has a raw newline")
			}
		}
	})
}

func BenchmarkDecodePublish(b *testing.B) {
	var d Decoder
	frame := encodePublish(JSON, "lobby", `{"text":"`+strings.Repeat("x", 100)+`"}`)
	b.ReportAllocs()
	for b.Loop() {
		d.Reset(JSON, frame)
		if _, err := d.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendPush(b *testing.B) {
	var e Encoder
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = e.AppendPush(buf[:0], JSON, &testMessage)
	}
}
