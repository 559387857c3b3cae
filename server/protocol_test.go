package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/centrifugal/protocol"
	"github.com/google/go-cmp/cmp"

	"github.com/hubbub-chat/hubbub/schema"
)

type (
	command   = protocol.Command
	subscribe = protocol.SubscribeRequest

	unsubscribeRequest = protocol.UnsubscribeRequest
	pingRequest        = protocol.PingRequest
)

// A message on its whole way, in both codecs and with both ways to ask for
// one.
func TestHello(t *testing.T) {
	h := start(t)
	for _, c := range []struct {
		name  string
		codec schema.Codec
		query []string
	}{
		{"JSON by subprotocol", schema.JSON, nil},
		{"JSON by default", schema.JSON, []string{"a=b"}},
		{"JSON by query", schema.JSON, []string{"cf_protocol=json"}},
		{"Protobuf by subprotocol", schema.Protobuf, nil},
		{"Protobuf by query", schema.Protobuf, []string{"cf_protocol=protobuf"}},
		{"Protobuf by query among others", schema.Protobuf, []string{"x=%zz", "cf_protocol=protobuf", "y"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			room := roomOf(t)
			a, b := h.dial(c.codec, c.query...), h.client(codecs[1-c.codec])
			a.t = t
			hello := a.connect()
			if hello.Client == "" || hello.Version == "" || hello.Ping == 0 || !hello.Pong || hello.Expires {
				t.Errorf("connect was answered with %v", hello)
			}
			for _, who := range []*client{a, b} {
				r := who.subscribe(room)
				if !r.Recoverable || !r.Positioned || r.Epoch == "" || r.Offset != 0 || r.WasRecovering || r.Recovered || len(r.Publications) > 0 || r.Delta {
					t.Errorf("subscribe to an empty room was answered with %v", r)
				}
			}
			a.publish(room, `{"text":"hi"}`)
			for _, who := range []*client{a, b} {
				p := who.push(room)
				if string(p.Data) != `{"text":"hi"}` || p.Info == nil || p.Info.Client != hello.Client || p.Info.User != "guest-"+hello.Client || p.Offset == 0 {
					t.Errorf("published by %s, received %v", hello.Client, p)
				}
			}
			b.ok(&command{Unsubscribe: &protocol.UnsubscribeRequest{Channel: room}})
			a.publish(room, `2`)
			a.push(room)
			b.ok(&command{Ping: &protocol.PingRequest{}})
			if len(b.pushes) > 0 {
				t.Errorf("after its unsubscribe a client received %v", b.pushes)
			}
			top := a.history(&protocol.HistoryRequest{Channel: room}).Offset
			if r := b.subscribe(room); r.Offset != top {
				t.Errorf("subscribed at offset %d, the top is %d", r.Offset, top)
			}
		})
	}
}

// Commands that are refused, each with its error; the connection lives on.
func TestErrors(t *testing.T) {
	h := start(t)
	publish := func(room, data string) *command { return publishTo(room, data) }
	sub := func(r *subscribe) *command { return &command{Subscribe: r} }
	badNames := map[string]string{
		"empty": "", "too long": strings.Repeat("x", 256), "control character": "a\x01b", "newline": "a\nb",
		"leading blank": " a", "trailing blank": "a ",
	}
	cases := []struct {
		name string
		cmd  *command
		code uint32
	}{
		{"map subscription", sub(&subscribe{Channel: "a", Type: 1}), 108},
		{"shared poll subscription", sub(&subscribe{Channel: "a", Type: 4}), 108},
		{"tag filter", sub(&subscribe{Channel: "a", Tf: &protocol.FilterNode{Key: "x", Cmp: "eq", Val: "y"}}), 107},
		{"double subscribe", sub(&subscribe{Channel: "here"}), 105},
		{"double subscribe with recovery", sub(&subscribe{Channel: "here", Recover: true}), 105},
		{"rpc", &command{Rpc: &protocol.RPCRequest{Method: "x", Data: protocol.Raw("1")}}, 108},
		{"rpc without a method", &command{Rpc: &protocol.RPCRequest{}}, 108},
		{"history since another epoch", &command{History: &protocol.HistoryRequest{Channel: "here", Since: &protocol.StreamPosition{Epoch: "other"}}}, 112},
		{"history backwards from 0", &command{History: &protocol.HistoryRequest{Channel: "here", Reverse: true, Limit: 1, Since: &protocol.StreamPosition{}}}, 107},
		{"map publication", &command{Publish: &protocol.PublishRequest{Channel: "a", Data: protocol.Raw("1"), Type: 1}}, 108},
		{"removal", &command{Publish: &protocol.PublishRequest{Channel: "a", Data: protocol.Raw("1"), Removed: true}}, 108},
		{"no data", publish("a", ""), 107},
	}
	for what, name := range badNames {
		cases = append(cases, []struct {
			name string
			cmd  *command
			code uint32
		}{
			{"subscribe, name " + what, sub(&subscribe{Channel: name}), 107},
			{"unsubscribe, name " + what, &command{Unsubscribe: &protocol.UnsubscribeRequest{Channel: name}}, 107},
			{"publish, name " + what, publish(name, "1"), 107},
			{"history, name " + what, &command{History: &protocol.HistoryRequest{Channel: name, Limit: 1}}, 107},
			{"presence, name " + what, &command{Presence: &protocol.PresenceRequest{Channel: name}}, 107},
			{"presence_stats, name " + what, &command{PresenceStats: &protocol.PresenceStatsRequest{Channel: name}}, 107},
		}...)
	}
	for _, kind := range []string{"edit", "delete", "react", "typing", "read"} {
		for name, data := range map[string]string{
			"plain":         `{"type":"` + kind + `"}`,
			"spaces":        ` { "x" : 1 , "type" : "` + kind + `" }`,
			"escaped value": fmt.Sprintf(`{"type":"\u%04x%s"}`, kind[0], kind[1:]),
			"escaped name":  `{"\u0074ype":"` + kind + `"}`,
			"all escaped":   fmt.Sprintf(`{"\u0074\u0079\u0070\u0065":"%s\u%04x"}`, kind[:len(kind)-1], kind[len(kind)-1]),
			"written twice": `{"type":"text","type":"` + kind + `"}`,
		} {
			cases = append(cases, struct {
				name string
				cmd  *command
				code uint32
			}{"reserved type " + kind + ", " + name, publish("a", data), 107})
		}
	}
	bothCodecs(t, func(t *testing.T, codec schema.Codec) {
		c := h.client(codec)
		c.subscribe("here")
		for _, tc := range cases {
			t.Run(tc.name, func(t *testing.T) {
				c.t, tc.cmd.Id = t, 0
				c.fails(tc.cmd, tc.code)
			})
		}
		c.ok(&command{Ping: &protocol.PingRequest{}})
	})
	// Protobuf carries bytes, so the server is who has to see that they are
	// JSON. (In a JSON command, data that is no value makes the whole malformed.)
	c := h.client(schema.Protobuf)
	for _, data := range []string{"x", "{", `{"a":1`, "1 2", `1,"b":2`, "\"a\nb\"", "NaN", "\x00", "\xff", `"` + "\xff" + `"`, "\n"} {
		t.Run(fmt.Sprintf("data %q", data), func(t *testing.T) {
			c.t = t
			c.fails(publish("a", data), 107)
		})
	}
}

// Data arrives as it was sent, apart from raw newlines.
func TestData(t *testing.T) {
	h := start(t)
	for _, c := range []struct{ name, data, want string }{
		{"object", `{"text":"hi","n":1}`, ""},
		{"null", `null`, ""},
		{"number", `-1.5e3`, ""},
		{"string", `"a\nb \u2028 \ud83d\ude00 😀"`, ""},
		{"array", `[ 1 , [ ] , {} ]`, ""},
		{"false", `false`, ""},
		{"lone surrogate", `"\ud800"`, ""},
		{"same key twice", `{"a":1,"a":2}`, ""},
		{"html", `"<script>&</script>"`, ""},
		{"type text", `{"type":"text"}`, ""},
		{"another type", `{"type":"poll","type2":"edit"}`, ""},
		{"reserved word elsewhere", `{"of":{"type":"edit"},"text":"type\": edit"}`, ""},
		{"newlines", "{\n\"a\" :\n\r\n 1}\n", "{\"a\" :\r 1}"},
		{"deep", strings.Repeat("[", schema.MaxLevels) + strings.Repeat("]", schema.MaxLevels), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			room := roomOf(t)
			binary, text := h.client(schema.Protobuf), h.client(schema.JSON)
			binary.t, text.t = t, t
			binary.subscribe(room)
			text.subscribe(room)
			want := c.want
			if want == "" {
				want = c.data
			}
			binary.publish(room, c.data)
			got := []string{string(binary.push(room).Data), string(text.push(room).Data)}
			if c.want == "" && c.name != "null" {
				text.ledger.sent(room, c.data) // twice in one room
				text.publish(room, c.data)
				got = append(got, string(binary.push(room).Data), string(text.push(room).Data))
			}
			for _, p := range text.history(&protocol.HistoryRequest{Channel: room, Limit: -1}).Publications {
				got = append(got, string(p.Data))
			}
			for _, g := range got {
				if g != want {
					t.Errorf("published %q, received %q, want %q", c.data, g, want)
				}
			}
		})
	}
}

// What ends a connection, in JSON as it is written.
func TestViolations(t *testing.T) {
	h := start(t)
	const connect = `{"id":1,"connect":{}}`
	for _, c := range []struct {
		name   string
		frames []string
		binary bool // the last frame
		code   uint16
	}{
		{"publish before connect", []string{`{"id":1,"publish":{"channel":"a","data":1}}`}, false, 3501},
		{"subscribe before connect", []string{`{"id":1,"subscribe":{"channel":"a"}}`}, false, 3501},
		{"ping before connect", []string{`{"id":1,"ping":{}}`}, false, 3501},
		{"send before connect", []string{`{"send":{"data":1}}`}, false, 3501},
		{"rpc before connect", []string{`{"id":1,"rpc":{"method":"x"}}`}, false, 3501},
		{"history before connect", []string{`{"id":1,"history":{"channel":"a"}}`}, false, 3501},
		{"second connect", []string{connect, `{"id":2,"connect":{}}`}, false, 3501},
		{"second connect in one frame", []string{connect + "\n" + `{"id":2,"connect":{}}`}, false, 3501},
		{"connect without id", []string{`{"connect":{}}`}, false, 3501},
		{"publish without id", []string{connect, `{"publish":{"channel":"a","data":1}}`}, false, 3501},
		{"ping without id", []string{connect, `{"ping":{}}`}, false, 3501},
		{"id without command", []string{connect, `{"id":7}`}, false, 3501},
		{"unknown command", []string{connect, `{"id":7,"explode":{}}`}, false, 3501},
		{"not JSON", []string{connect, `hello`}, false, 3501},
		{"half a command", []string{connect, `{"id":7,"ping":`}, false, 3501},
		{"an array", []string{connect, `[{"id":7,"ping":{}}]`}, false, 3501},
		{"negative id", []string{connect, `{"id":-7,"ping":{}}`}, false, 3501},
		{"id beyond 32 bits", []string{connect, `{"id":4294967296,"ping":{}}`}, false, 3501},
		{"data that is not JSON", []string{connect, `{"id":7,"publish":{"channel":"a","data":oops}}`}, false, 3501},
		{"binary frame", []string{connect, `{"id":7,"ping":{}}`}, true, 3501},
		{"binary first frame", []string{connect}, true, 3501},
		{"token without a key", []string{`{"id":1,"connect":{"token":"abc"}}`}, false, 3500},
		{"invalid UTF-8", []string{connect, "{\"id\":7,\"publish\":{\"channel\":\"a\",\"data\":\"\xff\"}}"}, false, 1007},
		{"oversized", []string{connect, `{"id":7,"publish":{"channel":"a","data":"` + strings.Repeat("x", 64<<10) + `"}}`}, false, 1009},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := h.dial(schema.JSON)
			p.t = t
			for i, f := range c.frames {
				p.sendRaw(c.binary && i == len(c.frames)-1, f)
				if i < len(c.frames)-1 {
					if _, err := p.tryReply(1); err != nil {
						t.Fatal(err)
					}
				}
			}
			for {
				_, r, err := p.next()
				if err == nil && r.Connect != nil && strings.Contains(c.frames[0], "\n") {
					continue // the first of two
				}
				if end, ok := err.(closed); !ok || end.code != c.code { //nolint:errorlint // never wrapped
					t.Fatalf("answered %v, %v; want a close with %d", r, err, c.code)
				}
				return
			}
		})
	}
	t.Run("text frame on a Protobuf connection", func(t *testing.T) {
		p := h.client(schema.Protobuf)
		p.sendRaw(false, "\x00")
		p.expectClose(3501)
	})
	for name, frame := range map[string]string{
		"length beyond the frame": "\x7f\x08", "endless varint": strings.Repeat("\xff", 11),
		"length beyond everything": "\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "bad field": "\x02\x0a\xff",
	} {
		t.Run("Protobuf, "+name, func(t *testing.T) {
			p := h.client(schema.Protobuf)
			p.sendRaw(true, frame)
			p.expectClose(3501)
		})
	}
}

// What ends a connection does not take the answers of the commands before it away:
// a message that was stored does not look lost.
func TestAnsweredBeforeTheEnd(t *testing.T) {
	h := start(t)
	bothCodecs(t, func(t *testing.T, codec schema.Codec) {
		for _, c := range []struct {
			name string
			bad  map[schema.Codec]string
			code uint16
		}{
			{"malformed", map[schema.Codec]string{schema.JSON: "\n{oops", schema.Protobuf: "\x7f\x08"}, 3501},
			{"without id", map[schema.Codec]string{schema.JSON: "\n" + `{"ping":{}}`, schema.Protobuf: "\x02\x5a\x00"}, 3501},
			{"too many", map[schema.Codec]string{schema.JSON: strings.Repeat("\n{}", 1000), schema.Protobuf: strings.Repeat("\x00", 1000)}, 3501},
		} {
			t.Run(c.name, func(t *testing.T) {
				p := h.client(codec)
				p.t = t
				room := roomOf(t)
				good := []*protocol.Command{
					{Publish: &protocol.PublishRequest{Channel: room, Data: []byte("1")}},
					{Publish: &protocol.PublishRequest{Channel: room, Data: []byte("2")}},
				}
				frame := append(p.encode(good...), c.bad[codec]...)
				frame = append(frame, c.bad[codec]...)
				if err := p.write(codec.Binary(), frame); err != nil {
					t.Fatal(err)
				}
				for _, cmd := range good {
					if r, err := p.tryReply(cmd.Id); err != nil || r.Error != nil {
						t.Fatalf("%v, %v", r, err)
					}
				}
				p.expectClose(c.code)
			})
		}
	})
}

// A message of exactly the size allowed is taken.
func TestLargestMessage(t *testing.T) {
	h := start(t)
	c := h.client(schema.JSON)
	c.subscribe("a")
	frame := func(pad int) string {
		return `{"id":9,"publish":{"channel":"a","data":"` + strings.Repeat("x", pad) + `"}}`
	}
	c.last = 9
	c.sendRaw(false, frame(h.opt.MaxSize-len(frame(0))))
	if r, err := c.tryReply(9); err != nil || r.Error != nil {
		t.Fatalf("%v, %v", r, err)
	}
	if p := c.push("a"); len(p.Data) != h.opt.MaxSize-len(frame(0))+2 {
		t.Errorf("received %d bytes", len(p.Data))
	}
}

func TestGuestsOff(t *testing.T) {
	h := start(t, func(o *options) { o.Guests = false })
	bothCodecs(t, func(t *testing.T, codec schema.Codec) {
		c := h.dial(codec)
		c.t = t
		// What comes behind the connect is not answered.
		c.send(&command{Connect: &protocol.ConnectRequest{}}, subscribeTo("a"), publishTo("a", "1"))
		r, err := c.tryReply(1)
		if err != nil || r.Error == nil || r.Error.Code != 101 {
			t.Fatalf("answered %v, %v; want error 101", r, err)
		}
		c.expectClose(3500)
	})
}

// The wire, letter for letter: what PROTOCOL.md shows, results that are there
// however empty, unknown fields, and several commands in a frame.
func TestWire(t *testing.T) {
	h := start(t)
	c := h.dial(schema.JSON)
	epoch := h.epoch()
	var client string
	for _, step := range []struct {
		name, send string
		want       []string // $C is the client's id, $O any offset
	}{
		{"connect with fields of a later version",
			`{"id":1,"connect":{"name":"js","data":{"name":" Al\u0007ice "},"headers":{"a":"b"},"flag":1,"colour":{"deep":[1,{}]},"subs":{"x":{"recover":true}}},"when":"now"}`,
			[]string{`{"id":1,"connect":{"client":"$C","version":"` + version + `","ping":25,"pong":true}}`}},
		{"history of an empty room", `{"id":2,"history":{"channel":"w","limit":10}}`,
			[]string{`{"id":2,"history":{"publications":[],"epoch":"` + epoch + `","offset":0}}`}},
		{"presence of an empty room", `{"id":3,"presence":{"channel":"w"}}`, []string{`{"id":3,"presence":{"presence":{}}}`}},
		{"presence_stats of an empty room", `{"id":4,"presence_stats":{"channel":"w"}}`,
			[]string{`{"id":4,"presence_stats":{"num_clients":0,"num_users":0}}`}},
		{"ping", `{"id":5,"ping":{}}`, []string{`{"id":5,"ping":{}}`}},
		{"unsubscribe from nothing", `{"id":6,"unsubscribe":{"channel":"w"}}`, []string{`{"id":6,"unsubscribe":{}}`}},
		{"subscribe, publish and more in one frame",
			"{\"id\":7,\"send\":{\"data\":1}}\n\n{\"id\":8,\"subscribe\":{\"channel\":\"w\",\"flag\":1,\"delta\":\"fossil\"}}\r\n{\"id\":9,\"publish\":{\"channel\":\"w\",\"data\":{\"text\":\"hi\"},\"mood\":0}}\n",
			[]string{`{"id":8,"subscribe":{"recoverable":true,"epoch":"` + epoch + `","positioned":true}}`,
				`{"push":{"channel":"w","pub":{"data":{"text":"hi"},"info":{"user":"guest-$C","client":"$C","conn_info":{"name":"Alice"}},"offset":$O}}}`,
				`{"id":9,"publish":{}}`}},
		{"presence", `{"id":10,"presence":{"channel":"w"}}`,
			[]string{`{"id":10,"presence":{"presence":{"$C":{"user":"guest-$C","client":"$C","conn_info":{"name":"Alice"}}}}}`}},
		{"history", `{"id":11,"history":{"channel":"w","limit":-1}}`,
			[]string{`{"id":11,"history":{"publications":[{"data":{"text":"hi"},"info":{"user":"guest-$C","client":"$C","conn_info":{"name":"Alice"}},"offset":$O}],"epoch":"` + epoch + `","offset":$O}}`}},
		{"pongs that nobody asked for", "{}\n{}\n{\"id\":12,\"ping\":{}}", []string{`{"id":12,"ping":{}}`}},
		{"publish with its id behind", `{"publish":{"data":1,"channel":"w"},"id":13}`,
			[]string{`{"push":{"channel":"w","pub":{"data":1,"info":{"user":"guest-$C","client":"$C","conn_info":{"name":"Alice"}},"offset":$O}}}`, `{"id":13,"publish":{}}`}},
	} {
		t.Run(step.name, func(t *testing.T) {
			c.t = t
			c.sendRaw(false, step.send)
			for _, want := range step.want {
				raw, r, err := c.next()
				if err != nil {
					t.Fatal(err)
				}
				if r.Connect != nil {
					client = r.Connect.Client
				}
				want = strings.ReplaceAll(want, "$C", client)
				if got := hideOffsets(string(raw)); got != hideOffsets(want) {
					t.Errorf("\n got %s\nwant %s", got, want)
				}
			}
		})
	}
}

// hideOffsets replaces numbers no person would write, and brings the members
// of objects into one order.
func hideOffsets(message string) string {
	var v any
	d := json.NewDecoder(strings.NewReader(strings.ReplaceAll(message, "$O", "1764000000000000")))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return message
	}
	b, _ := json.Marshal(v)
	out := []byte(string(b))
	for i := 0; i < len(out); {
		j := i
		for j < len(out) && '0' <= out[j] && out[j] <= '9' {
			j++
		}
		if j-i == 16 && (i == 0 || out[i-1] == ':') {
			out = slices.Replace(out, i, j, []byte("$O")...)
			j = i + 2
		}
		i = max(j, i+1)
	}
	return string(out)
}

func TestPresence(t *testing.T) {
	h := start(t, func(o *options) { o.Loops = 3 })
	room := roomOf(t)
	var all []*client
	for i := range 7 {
		c := h.client(codecs[i%2])
		c.subscribe(room)
		all = append(all, c)
	}
	outside := h.client(schema.JSON)
	want := func(n int) {
		t.Helper()
		for _, who := range []*client{outside, all[n-1]} {
			got := []string{}
			for id, info := range who.ok(&command{Presence: &protocol.PresenceRequest{Channel: room}}).Presence.Presence {
				if info.Client != id || info.User != "guest-"+id {
					t.Errorf("client %s is listed as %v", id, info)
				}
				got = append(got, id)
			}
			ids := []string{}
			for _, c := range all[:n] {
				ids = append(ids, c.id)
			}
			slices.Sort(got)
			slices.Sort(ids)
			if diff := cmp.Diff(ids, got); diff != "" {
				t.Error(diff)
			}
			stats := who.ok(&command{PresenceStats: &protocol.PresenceStatsRequest{Channel: room}}).PresenceStats
			if stats.NumClients != uint32(n) || stats.NumUsers != uint32(n) {
				t.Errorf("%v, want %d", stats, n)
			}
		}
	}
	want(7)
	all[6].ok(&command{Unsubscribe: &protocol.UnsubscribeRequest{Channel: room}})
	want(6)
	all[5].cut()
	eventually(t, "a client that was cut has left", func() bool {
		return outside.ok(&command{PresenceStats: &protocol.PresenceStatsRequest{Channel: room}}).PresenceStats.NumClients == 5
	})
	want(5)
}

func TestSubscriptionLimit(t *testing.T) {
	h := start(t)
	c := h.client(schema.JSON)
	var cmds []*command
	for i := range 128 {
		cmds = append(cmds, subscribeTo(fmt.Sprint("room", i)))
	}
	c.send(cmds...)
	for range cmds {
		if _, r, err := c.next(); err != nil || r.Subscribe == nil {
			t.Fatalf("%v, %v", r, err)
		}
	}
	c.fails(subscribeTo("one more"), 106)
	c.ok(&command{Unsubscribe: &protocol.UnsubscribeRequest{Channel: "room17"}})
	c.subscribe("one more")
	c.fails(subscribeTo("room17"), 106)
}
