// Package hostile is what the open internet does to a chat server: peers that
// send what no honest client would. It says how each of them ended; what the
// others noticed meanwhile is the caller's to measure.
//
// Nouns: an Attack is one way to be hostile; an Ending is how one attacking
// connection was got rid of; a Result counts them.
//
// Goroutines: one per attacking connection, and for floods one more that
// reads. All end with the context that Run was given.
package hostile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/blocking"
)

// Attack is one way to be hostile.
type Attack struct {
	Name    string
	Help    string
	Conns   int           // attacking connections at once
	Pause   time.Duration // before a connection that was ended comes again
	Deflate bool          // wants permessage-deflate
	AtLeast time.Duration // how long it takes to show how it ends
	Ends    []Ending      // how a server may end it; others are a fault
	Wants   int           // how many such endings show what there is to be shown; 0: one

	prepare func() // makes what takes long to make
	// act attacks over one connection and returns how that ended.
	act func(context.Context, *attacker) Ending
}

// Prepare makes what the attack will send. Without it the first to attack does.
func (a *Attack) Prepare() {
	if a.prepare != nil {
		a.prepare()
	}
}

// Ending is how an attacking connection ended: "close 1009", "HTTP 431".
type Ending string

// The endings that are not a close code or a status.
const (
	StillOpen     Ending = "still open"         // when the attack was over
	Hung          Ending = "hung up on"         // end of file without a word
	Reset         Ending = "reset"              // by the peer, without a word
	NotConnected  Ending = "could not connect"  // no socket, or no answer to the handshake
	NotNegotiated Ending = "no compression"     // which the attack needs
	Garbled       Ending = "an unclear answer"  // neither HTTP nor a frame
	answered      Ending = "answered as usual"  // the server took it for a message and went on
	unanswered    Ending = "ignored, lives on"  // the server went on without an answer
	protocolError        = Ending("close 1002") // RFC 6455's own
	tooBig               = Ending("close 1009")
)

// Target is the server.
type Target struct {
	Addr netip.AddrPort
	Host string // in requests; Addr when empty
	URI  string
}

// Result is what became of an attack.
type Result struct {
	Attempts int            `json:"attempts"` // connections made
	Endings  map[Ending]int `json:"endings"`
	Sent     int64          `json:"sent"`              // frames, or bytes of a head, given to the kernel
	Wrong    []string       `json:"wrong"`             // endings that should not be; empty: all was as expected
	Missing  string         `json:"missing,omitempty"` // why the attack could not be made
}

// attacker is one attacking connection's view of its attack.
type attacker struct {
	target Target
	attack *Attack
	sent   *atomic.Int64
}

// patience is how long an attacker waits for the server's reaction when it has
// sent all it has.
const patience = 3 * time.Second

// Shown counts the endings of an attack under way that prove something.
type Shown struct{ n atomic.Int64 }

// Enough reports whether everything has been shown.
func (s *Shown) Enough(a *Attack) bool { return s.n.Load() >= int64(max(1, a.Wants)) }

// Run attacks until the context ends, each connection again and again.
func (a *Attack) Run(ctx context.Context, target Target, shown *Shown) Result {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var sent atomic.Int64
	r := Result{Endings: map[Ending]int{}}
	for range a.Conns {
		wg.Go(func() { // ends with ctx
			for ctx.Err() == nil {
				end := a.act(ctx, &attacker{target, a, &sent})
				mu.Lock()
				r.Attempts++
				r.Endings[end]++
				mu.Unlock()
				if slices.Contains(a.Ends, end) || end == NotNegotiated || end == NotLetIn {
					shown.n.Add(1)
				}
				if end == NotNegotiated || end == NotLetIn {
					shown.n.Add(int64(a.Wants)) // nothing else will be
					return
				}
				select {
				case <-time.After(a.Pause):
				case <-ctx.Done():
				}
			}
		})
	}
	wg.Wait()
	r.Sent = sent.Load()
	a.judge(&r)
	return r
}

// judge says which endings should not be. An attack that was cut short by the
// end of its time proves nothing and is no fault, but when none ended in time
// nothing was proved at all.
func (a *Attack) judge(r *Result) {
	proved := 0
	for end, n := range r.Endings {
		switch {
		case slices.Contains(a.Ends, end):
			proved += n
		case end == NotNegotiated:
			r.Missing = "the server does not offer permessage-deflate"
		case end == NotLetIn:
			r.Missing = "the server does not let guests publish to rooms of any name"
		case end != StillOpen:
			r.Wrong = append(r.Wrong, fmt.Sprintf("%s: %d connections: %s", a.Name, n, end))
		}
	}
	if proved == 0 && len(r.Wrong) == 0 && r.Missing == "" {
		r.Wrong = append(r.Wrong, a.Name+": no connection was ended in time")
	}
	slices.Sort(r.Wrong)
}

// open makes a connection as a client does that means well, up to its first
// command.
func (t *attacker) open(ctx context.Context) (*blocking.Conn, Ending) {
	d := blocking.Dial{Addr: t.target.Addr, Host: t.target.Host, URI: t.target.URI, Timeout: 5 * time.Second}
	if t.attack.Deflate {
		d.Header = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n"
	}
	c, err := d.Open(ctx)
	if err != nil {
		return nil, ending(ctx, err)
	}
	if t.attack.Deflate && !c.Deflate {
		_ = c.Close()
		return nil, NotNegotiated
	}
	if err := c.Send(blocking.Text, []byte(`{"id":1,"connect":{}}`)); err != nil {
		_ = c.Close()
		return nil, ending(ctx, err)
	}
	return c, ""
}

// ending gives an error its name.
func ending(ctx context.Context, err error) Ending {
	var closed blocking.ClosedError
	var status blocking.StatusError
	switch {
	case errors.As(err, &closed):
		return Ending(fmt.Sprintf("close %d", closed.Code))
	case errors.As(err, &status):
		return Ending(fmt.Sprintf("HTTP %d", status.Code))
	case over(ctx):
		return StillOpen
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return Reset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Hung
	case errors.Is(err, os.ErrDeadlineExceeded):
		return unanswered
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EADDRNOTAVAIL), strings.Contains(err.Error(), "dial"):
		return NotConnected
	}
	return Garbled
}

// over reports whether the attack is: a dialler notices a moment before the
// context itself does.
func over(ctx context.Context) bool {
	end, limited := ctx.Deadline()
	return ctx.Err() != nil || limited && time.Until(end) < 50*time.Millisecond
}

// outcome reads until the connection ends or patience does.
func outcome(ctx context.Context, c *blocking.Conn) Ending {
	defer context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Now()) })()
	_ = c.SetReadDeadline(time.Now().Add(patience)) // a failure shows in what follows
	for {
		if _, err := c.ReadMessage(); err != nil {
			return ending(ctx, err)
		}
	}
}
