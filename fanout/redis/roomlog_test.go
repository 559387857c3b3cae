package redis

import (
	"fmt"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// A room has one line of a kind a minute, all rooms together have a bound, and
// the next line says how many there were that nobody reads.
func TestRoomLog(t *testing.T) {
	core, lines := observer.New(zap.InfoLevel)
	l := newRoomLog(zap.New(core))
	now := time.Now()
	l.now = func() time.Time { return now }
	for range 1000 {
		l.warn("lobby", "it is broken")
		l.info("lobby", "it is whole")
	}
	if n := lines.Len(); n != 2 {
		t.Errorf("%d lines of one room", n)
	}
	for i := range 1000 {
		l.warn(fmt.Sprint(i), "it is broken")
	}
	if n := lines.Len(); n != roomLogLines {
		t.Errorf("%d lines of a thousand rooms", n)
	}
	now = now.Add(roomLogEvery)
	l.warn("lobby", "it is broken")
	if n := lines.Len(); n != roomLogLines+1 {
		t.Errorf("%d lines after a minute", n)
	}
	if last := lines.All()[roomLogLines]; last.ContextMap()["lines_left_out"] != int64(1000-roomLogLines+2) {
		t.Errorf("the next minute's first line says %v", last.ContextMap())
	}
}
