package auth

import (
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"
)

// refusalEvery is how often a log hears of one reason for which tokens are
// refused: anybody can bring any number of tokens.
const refusalEvery = 10 * time.Second

// refusalLog tells the operator why tokens are refused: one line per reason
// and refusalEvery at most, with how many there were.
type refusalLog struct {
	log *zap.Logger // nil: silent

	mu    sync.Mutex
	kinds map[Refusal]*refusals // guarded by mu; there are few Refusals
}

// refusals is what has been refused for one reason.
type refusals struct {
	last  time.Time // of the last line
	since int       // refused after it
}

func newRefusalLog(log *zap.Logger) *refusalLog {
	return &refusalLog{log: log, kinds: make(map[Refusal]*refusals)}
}

// note counts a token that was refused. An expired one is not a fault, and one
// whose key is being fetched is told of by Keys.
func (l *refusalLog) note(err error, now time.Time) {
	var r Refusal
	if l.log == nil || !errors.As(err, &r) {
		return
	}
	l.mu.Lock()
	kind := l.kinds[r]
	if kind == nil {
		kind = &refusals{}
		l.kinds[r] = kind
	}
	kind.since++
	quiet := !kind.last.IsZero() && now.Sub(kind.last) < refusalEvery
	count := kind.since
	if !quiet {
		kind.last, kind.since = now, 0
	}
	l.mu.Unlock()
	if !quiet {
		l.log.Warn("tokens are refused", zap.String("reason", string(r)), zap.Int("tokens", count))
	}
}
