package main

import (
	"bytes"
	"testing"
	"unsafe"

	"github.com/hubbub-chat/hubbub/loadgen/check"
	"github.com/hubbub-chat/hubbub/schema"
)

// TestClientBudget: what a connection costs the tool beside netpoll's Conn.
func TestClientBudget(t *testing.T) {
	const budget = 256 // bytes
	if size := unsafe.Sizeof(client{}); size > budget {
		t.Fatalf("a client is %d bytes, more than %d", size, budget)
	}
}

// receiver is 100 clients of one room that are handed frames without sockets.
type receiver struct {
	clients []client
	offset  uint64
	n       uint32
}

func newReceiver(decodes bool) *receiver {
	f := &fleet{clock: newClock(0), run: "0123abcd", dialect: jsonDialect{}, payload: check.Exactly(200), rooms: check.NewRooms(1, func(int) string { return "room-0" }, false)}
	w := &worker{fleet: f, rec: newRecorder(), parts: map[int]*part{0: {Part: check.Part{Room: &f.rooms[0]}}}}
	r := &receiver{clients: make([]client, 100)}
	for i := range r.clients {
		c := &r.clients[i]
		*c = client{worker: w, part: w.parts[0], index: uint32(i), decodes: decodes, state: joined}
		if decodes {
			c.part.Join(&c.reader, 0)
		}
	}
	return r
}

// frame is the room's next k messages in one frame.
func (r *receiver) frame(b []byte, k int) []byte {
	var enc schema.Encoder
	w := r.clients[0].worker
	b = b[:0]
	for i := range k {
		if i > 0 {
			b = append(b, '\n')
		}
		r.offset++
		data := check.Payload{Publisher: 1000, N: r.n, At: w.fleet.clock.now()}.Append(nil, w.fleet.run, 200)
		w.fleet.rooms[0].Sent(r.n)
		w.fleet.rooms[0].Ack(uint64(r.n))
		r.n++
		b = enc.AppendPush(b, schema.JSON, &schema.Message{Room: "room-0", Offset: r.offset, User: "alice", Client: "c0ffee", Data: data})
	}
	return b
}

func (r *receiver) deliver(frame []byte) {
	for i := range r.clients {
		r.clients[i].Message(nil, false, frame)
	}
}

func TestReceiving(t *testing.T) {
	for _, decodes := range []bool{true, false} {
		r := newReceiver(decodes)
		for range 1000 {
			r.deliver(r.frame(nil, 3))
		}
		c := r.clients[0].worker.rec.Counts
		if c.Delivered != 300_000 || c.Duplicated+c.Reordered+c.Unexpected != 0 {
			t.Fatalf("decodes %t: %+v", decodes, c)
		}
		frame := r.frame(nil, 3)
		r.deliver(frame)
		again := bytes.Clone(frame)
		if r.deliver(again); decodes && r.clients[0].worker.rec.Duplicated != 300 {
			t.Fatalf("duplicates: %+v", r.clients[0].worker.rec.Counts)
		}
	}
}

// BenchmarkReceive is a client's work per message, without the sockets.
func BenchmarkReceive(b *testing.B) {
	for _, c := range []struct {
		name    string
		decodes bool
		k       int
	}{
		{"checked/1", true, 1}, {"checked/16", true, 16}, {"counted/1", false, 1}, {"counted/16", false, 16},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := newReceiver(c.decodes)
			var frame []byte
			for b.Loop() {
				b.StopTimer()
				frame = r.frame(frame, c.k)
				b.StartTimer()
				r.deliver(frame)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*c.k*len(r.clients)), "ns/message")
		})
	}
}
