package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// The reason of a state says nothing of rooms: anybody may read /readyz.
func TestReason(t *testing.T) {
	said := &mysql.MySQLError{Number: 1290, Message: "--read-only"}
	call := &net.OpError{Op: "dial", Err: io.EOF}
	other := errors.New("other")
	for _, c := range []struct{ err, want error }{
		{said, said}, {call, call}, {mysql.ErrInvalidConn, mysql.ErrInvalidConn},
		{context.DeadlineExceeded, context.DeadlineExceeded},
	} {
		err := fmt.Errorf("%w: append 3 messages: insert from room %q: %w", ErrRefused, "secret", c.err)
		if got := reason(err); got != c.want {
			t.Errorf("%v, want %v", got, c.want)
		}
	}
	if got := reason(other); got != other {
		t.Errorf("%v, want %v", got, other)
	}
}

// What a server says that is not the one that takes writes, or not any more: all
// connections are made anew. They stay for every other answer.
func TestReadOnlyAnswers(t *testing.T) {
	for number, want := range map[uint16]bool{
		1290: true, 1792: true, 1836: true, 1047: true, 3100: true,
		1021: false, 1040: false, 1045: false, 1205: false, 1406: false,
	} {
		moved := false
		h := newHealth("mysql", nil)
		h.moved = func() { moved = true }
		h.wrote(classifyMySQL(fmt.Errorf("insert: %w", &mysql.MySQLError{Number: number})))
		if moved != want {
			t.Errorf("%d: connections are made anew: %v", number, moved)
		}
	}
}
