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
