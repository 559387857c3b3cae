package fanout

import (
	"fmt"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/schema"
)

// A room whose newest message says that it is of next year, as a clock said that
// was wrong: its order holds, a gauge counts it and one line an hour tells.
func TestRoomAhead(t *testing.T) {
	type told struct {
		room string
		by   time.Duration
	}
	var lines []told
	w := newWorld(t, Config{Ahead: func(room string, by time.Duration) { lines = append(lines, told{room, by}) }}, 1)
	now := time.Now()
	const year = 365 * 24 * time.Hour
	for room, by := range map[string]time.Duration{"lobby": year, "a bit": farAhead - time.Second, "late": -year} {
		w.stored[room] = []*schema.Message{{Room: room, Offset: schema.NextOffset(0, now.Add(by)), Data: []byte(`1`)}}
		w.open(room)
	}
	p := &fakePeer{window: -1}
	w.join(0, w.open("lobby"), p)
	w.hub.forget(now)
	w.publish("lobby", `2`)
	w.commit()
	w.settle()
	if m := w.stored["lobby"]; m[1].Offset != m[0].Offset+1 || m[1].Prev != m[0].Offset || len(p.offsets(t)) != 1 {
		t.Errorf("the next message is at %d after %d, the one before at %d; %d were delivered", m[1].Offset, m[1].Prev, m[0].Offset, len(p.offsets(t)))
	}
	w.hub.forget(now.Add(time.Minute - time.Second))
	if len(lines) != 1 || lines[0].room != "lobby" || lines[0].by < year-time.Second || lines[0].by > year+time.Second {
		t.Errorf("told %v", lines)
	}
	if n := w.hub.Stats().Ahead; n != 1 {
		t.Errorf("%d rooms are ahead", n)
	}
	w.hub.forget(now.Add(aheadEvery))
	if len(lines) != 2 {
		t.Errorf("told %v after an hour", lines)
	}
	w.hub.forget(now.Add(year))
	if n := w.hub.Stats().Ahead; n != 0 {
		t.Errorf("%d rooms are ahead when the clock is there", n)
	}
}

// Where every room is ahead the log does not fill.
func TestManyRoomsAhead(t *testing.T) {
	lines := 0
	w := newWorld(t, Config{Ahead: func(string, time.Duration) { lines++ }}, 1)
	now := time.Now()
	for i := range 2 * aheadLines {
		room := fmt.Sprint(i)
		w.stored[room] = []*schema.Message{{Room: room, Offset: schema.NextOffset(0, now.Add(time.Hour)), Data: []byte(`1`)}}
		w.open(room)
	}
	for range 3 {
		w.hub.forget(now)
	}
	if n := w.hub.Stats().Ahead; lines != aheadLines || n != 2*aheadLines {
		t.Errorf("%d lines about %d rooms", lines, n)
	}
}
