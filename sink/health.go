package sink

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"
	"go.uber.org/zap"
	"modernc.org/sqlite"

	"github.com/hubbub-chat/hubbub/internal/contact"
)

// ErrRefused is returned by Append when the database answers, and takes no
// writes for a reason that is its own and not the batch's: a full disk, a file
// that is not there any more, a server that only reads. Store.Contact says so
// too, and when it is over.
var ErrRefused = errors.New("the database refuses writes")

const (
	// probeEvery is how often a Store looks after its database: how soon it
	// is known that an outage is over, or has begun while nobody wrote.
	probeEvery = time.Second

	// probeTimeout is how long a server may take to answer a probe.
	probeTimeout = 2 * time.Second
)

// health is what a Store knows about its database. Whoever talks to the
// database reports here; beside that a goroutine asks, so that an outage begins
// and ends without anybody's message.
type health struct {
	contact *contact.Contact // immutable
	log     *zap.Logger      // immutable
	moved   func()           // immutable; called when no connection may be used again. nil: nothing to do

	said atomic.Int64 // when unreadable wrote a line, nanoseconds since 1970

	stop  context.CancelFunc // ends watching
	ended sync.WaitGroup
}

func newHealth(name string, log *zap.Logger) *health {
	if log == nil {
		log = zap.NewNop()
	}
	return &health{contact: contact.New(contact.Config{Name: name, Log: log}), log: log}
}

// watch calls look every probeEvery until close.
func (h *health) watch(look func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	h.stop = cancel
	h.ended.Go(func() { // ends when close cancels
		tick := time.NewTicker(probeEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				look(ctx)
			case <-ctx.Done():
				return
			}
		}
	})
}

// close returns when nobody watches any more. It must not be called with
// Store.mu, which looking may take.
func (h *health) close() {
	if h.stop != nil {
		h.stop()
		h.ended.Wait()
	}
}

// wrote takes note of what a write came to, an error as classify returns it.
func (h *health) wrote(err error) {
	var lost *lostAfter
	switch {
	case err == nil:
		h.contact.Wrote()
	case errors.As(err, &lost):
		h.contact.Refused(lost.why)
	case errors.Is(err, ErrClosed), errors.Is(err, context.Canceled):
	case errors.Is(err, ErrRefused):
		if h.moved != nil && outdatesSessions(err) {
			h.moved()
		}
		h.contact.Refused(reason(err))
	case errors.Is(err, ErrUnavailable):
		h.contact.Failed(reason(err))
	default:
		h.contact.Heard()
	}
}

// reason returns what the database or the network said, without the statement
// and the room that met it: the reason is in /readyz, where anybody may read.
func reason(err error) error {
	var (
		server *mysql.MySQLError
		file   *sqlite.Error
		call   *net.OpError
	)
	switch {
	case errors.As(err, &server):
		return server
	case errors.As(err, &file):
		return file
	case errors.As(err, &call):
		return call
	case errors.Is(err, mysql.ErrInvalidConn):
		return mysql.ErrInvalidConn
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	}
	return err
}

// read takes note of what a read came to, an error as the driver returns it.
func (h *health) read(err error) {
	var answer *mysql.MySQLError
	switch {
	case err == nil, errors.As(err, &answer):
		h.contact.Heard()
	case errors.Is(err, context.Canceled): // who asked has gone
	case errors.Is(err, ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		h.contact.Failed(reason(err))
	case errors.Is(err, ErrRefused):
		h.contact.Heard()
		h.unreadable(err)
	}
}

// unreadable says that a file of ours cannot be read: it is damaged, or its disk
// is. Writes may go on, so this is no state of the back end.
func (h *health) unreadable(err error) {
	now := time.Now().UnixNano()
	if last := h.said.Load(); now-last > int64(time.Minute) && h.said.CompareAndSwap(last, now) {
		h.log.Error("the database cannot be read", zap.Error(err))
	}
}

// Contact says whether the database answers and takes writes.
func (s *Store) Contact() *contact.Contact { return s.health.contact }

// quiet is for how long nobody has tried to write.
func (s *Store) quiet() time.Duration { return time.Since(time.Unix(0, s.tried.Load())) }

// read reports and returns what a read came to.
func (s *Store) read(err error) error {
	err = s.dialect.classify(err)
	s.health.read(err)
	return err
}

// lostAfter is found behind a commit: what was stored is in a file that may be gone
// with the process, or come back. It is not ErrRefused, of which nothing is stored.
type lostAfter struct{ why error }

func (e *lostAfter) Error() string { return "stored, and perhaps lost again: " + e.why.Error() }

// checkStored is checkFiles behind a commit.
func (s *Store) checkStored() error {
	if err := s.checkFiles(); err != nil {
		return &lostAfter{err}
	}
	return nil
}

// checkFiles returns an error when what is written would be lost. The caller
// holds mu.
func (s *Store) checkFiles() error {
	if s.files == nil {
		return nil
	}
	return s.files.check()
}
