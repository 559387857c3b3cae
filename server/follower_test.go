package main

import (
	"fmt"
	"net"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/schema"
)

// follower is a member that leaves and comes back like an SDK: it keeps its
// position and recovers from there. What it receives is a view, which the
// ledger compares with the store; a recovery that says it is not exact begins
// a new one.
type follower struct {
	*client // nil before the first join
	h       *harness
	name    string
	room    string
	kind    schema.Codec
	buffer  int // receive buffer of its socket, 0 for the kernel's choice
	offset  uint64
	epoch   string
	joined  bool // offset and epoch are known
	view    *view
	lost    int // recoveries that were not exact
}

func (h *harness) follower(name, room string, kind schema.Codec) *follower {
	return &follower{h: h, name: name, room: room, kind: kind}
}

// back connects, subscribes, with recovery unless it is the first time, and
// returns what the subscribe said.
func (f *follower) back() (*protocol.SubscribeResult, error) {
	conn, err := net.Dial("tcp", f.h.addr())
	if err != nil {
		return nil, err
	}
	f.h.t.Cleanup(func() { _ = conn.Close() })
	if tcp, ok := conn.(*net.TCPConn); ok && f.buffer > 0 {
		if err := tcp.SetReadBuffer(f.buffer); err != nil {
			return nil, err
		}
	}
	if f.client, err = handshake(f.h.t, f.h.ledger, conn, f.kind); err != nil {
		return nil, err
	}
	cmd := subscribeTo(f.room)
	if f.joined {
		cmd = recoverFrom(f.room, f.offset, f.epoch)
	}
	// In one frame, as the JavaScript SDK sends them.
	if err := f.trySend(&command{Connect: &protocol.ConnectRequest{}}, cmd); err != nil {
		return nil, err
	}
	if _, err := f.tryReply(1); err != nil {
		return nil, err
	}
	r, err := f.tryReply(2)
	if err != nil {
		return nil, err
	}
	if r.Error != nil {
		return nil, fmt.Errorf("%s: subscribe was answered with %v", f.name, r.Error)
	}
	return r.Subscribe, f.joins(r.Subscribe)
}

func (f *follower) joins(r *protocol.SubscribeResult) error {
	switch {
	case len(f.pushes) > 0:
		return fmt.Errorf("%s: a push came before the answer to subscribe", f.name)
	case r.WasRecovering != f.joined || !r.WasRecovering && r.Recovered:
		return fmt.Errorf("%s: subscribe was answered with %v", f.name, r)
	case !r.Recovered && len(r.Publications) > 0:
		return fmt.Errorf("%s: publications with a recovery that failed", f.name)
	case r.Recovered && r.Offset != f.offset:
		return fmt.Errorf("%s: recovered from %d, the answer says %d", f.name, f.offset, r.Offset)
	}
	if !r.Recovered {
		if f.joined {
			f.lost++
		}
		f.offset = r.Offset
		f.view = f.h.ledger.view(f.name, f.room, r.Offset)
	}
	f.joined, f.epoch = true, r.Epoch
	for _, p := range r.Publications {
		f.take(p)
	}
	return nil
}

func (f *follower) take(p *protocol.Publication) {
	f.offset = p.Offset
	f.view.offsets = append(f.view.offsets, p.Offset)
}

// read takes one live publication.
func (f *follower) read() error {
	p, err := f.tryPush()
	if err != nil {
		return err
	}
	if p.Channel != f.room {
		return fmt.Errorf("%s: a push of room %q", f.name, p.Channel)
	}
	f.take(p.Pub)
	return nil
}

// readTo reads until it has everything up to an offset.
func (f *follower) readTo(offset uint64) error {
	for f.offset < offset {
		if err := f.read(); err != nil {
			return fmt.Errorf("%s: at offset %d on the way to %d: %w", f.name, f.offset, offset, err)
		}
	}
	if f.offset > offset {
		return fmt.Errorf("%s: missed offset %d, is at %d", f.name, offset, f.offset)
	}
	return nil
}

// readFor reads whatever comes in a time.
func (f *follower) readFor(d time.Duration) error {
	for end := time.Now().Add(d); time.Now().Before(end); {
		if err := f.read(); err != nil {
			return err
		}
	}
	return nil
}

// top asks the node where a room ends.
func (h *harness) top(room string) uint64 {
	h.t.Helper()
	c := h.client(schema.JSON)
	defer c.cut()
	return c.history(&historyRequest{Channel: room}).Offset
}
