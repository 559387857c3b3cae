package main

import (
	"errors"
	"io"
	"os"

	"github.com/hubbub-chat/hubbub/netpoll"
)

// reasons counts why connections were refused or ended, and commands answered with an
// error, in the words of the kernel or the server.
type reasons map[string]uint64

// maxReasons bounds how many different ones are kept: servers can say anything.
const maxReasons = 64

const otherReasons = "for other reasons"

func (r reasons) note(reason string) { r.add(reason, 1) }

func (r reasons) add(reason string, n uint64) {
	if _, known := r[reason]; !known && len(r) >= maxReasons {
		reason = otherReasons
	}
	r[reason] += n
}

// Failed implements netpoll.Failer.
func (c *client) Failed(conn *netpoll.Conn, err error) {
	w := c.worker
	if w.over || c.conn != nil && conn != c.conn { // one that it has left behind
		return
	}
	text := err.Error()
	if errors.Is(err, io.EOF) {
		text = "closed without a close frame"
	}
	var closed netpoll.CloseError
	if c.state == joined && !errors.As(err, &closed) {
		text = "cut off: " + text
	}
	w.rec.reasons.note(text)
	var call *os.SyscallError
	if c.state == dialling && errors.As(err, &call) && call.Syscall == "connect" {
		c.unreachable = true
	}
}
