package redis

import (
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// roomLog writes what concerns single rooms: at most one line per room, message
// and minute, and so many in all. A fault that stays in one room, or one that
// is in every room, must not fill the log.
type roomLog struct {
	log *zap.Logger // immutable
	now func() time.Time

	mu      sync.Mutex
	since   time.Time // when the minute began
	lines   map[roomLine]struct{}
	left    int // lines that this minute may still have
	muffled int // lines that it did not have, for the next minute's first
}

// roomLine is a message about a room.
type roomLine struct{ room, message string }

const (
	roomLogEvery = time.Minute
	roomLogLines = 100
)

func newRoomLog(log *zap.Logger) *roomLog { return &roomLog{log: log, now: time.Now} }

// warn writes a line unless the last minute had it.
func (l *roomLog) warn(room, message string, fields ...zap.Field) {
	l.write(zap.WarnLevel, room, message, fields)
}

// info is warn for what is as it should be.
func (l *roomLog) info(room, message string, fields ...zap.Field) {
	l.write(zap.InfoLevel, room, message, fields)
}

func (l *roomLog) write(level zapcore.Level, room, message string, fields []zap.Field) {
	if !l.log.Core().Enabled(level) {
		return
	}
	if n, ok := l.due(roomLine{room, message}); ok {
		if n > 0 {
			fields = append(fields, zap.Int("lines_left_out", n))
		}
		l.log.Log(level, message, append(fields, zap.String("room", room))...)
	}
}

// due reports whether a line may be written, and how many were left out since
// the last one that said so.
func (l *roomLog) due(line roomLine) (leftOut int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.now(); now.Sub(l.since) >= roomLogEvery {
		l.since, l.left, l.lines = now, roomLogLines, make(map[roomLine]struct{})
	}
	if _, had := l.lines[line]; had {
		return 0, false
	}
	if l.left == 0 {
		l.muffled++
		return 0, false
	}
	l.left--
	l.lines[line] = struct{}{}
	leftOut, l.muffled = l.muffled, 0
	return leftOut, true
}
