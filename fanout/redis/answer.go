package redis

import (
	"errors"
	"net"
	"strings"

	"github.com/redis/rueidis"
)

// answer is what the first word of an error reply says: about Redis, and about
// the call that got it.
type answer struct {
	code string

	// refused: it is about the state of Redis, or about this user, and not about
	// what was asked. The next call will hear the same.
	refused bool
	// before: it is said before a script writes anything. Redis looks for these
	// at a script's first write only, so that no script is cut in half.
	before bool
	// again: it may pass within a second, and is worth waiting for.
	again bool
	// elsewhere: another server is the primary now. The connection will not
	// notice by itself, see Client.redial.
	elsewhere bool
	// right: this user lacks one.
	right bool
	// nobody: no node can be served at the moment, so none misses what another
	// gets done.
	nobody bool
}

var answers = []answer{
	// Writes are refused, and reads answered.
	{code: "OOM", refused: true, before: true},
	{code: "MISCONF", refused: true, before: true},
	{code: "NOREPLICAS", refused: true, before: true},
	{code: "READONLY", refused: true, before: true, again: true, elsewhere: true},
	{code: "UNBLOCKED", before: true, again: true, elsewhere: true}, // a blocking read, when the roles change

	// Nothing is answered.
	{code: "MASTERDOWN", refused: true, before: true, again: true, elsewhere: true},
	{code: "LOADING", refused: true, before: true, again: true, nobody: true},
	{code: "BUSY", refused: true, before: true, again: true, nobody: true},
	{code: "CLUSTERDOWN", refused: true, before: true, again: true},

	// This user, or this connection, is not wanted.
	{code: "NOAUTH", refused: true, before: true},
	{code: "WRONGPASS", refused: true, before: true},
	{code: "DENIED", refused: true, before: true}, // protected mode
	{code: "max number of clients", refused: true, before: true},
	// A script may have written before it meets these.
	{code: "NOPERM", refused: true, right: true},
	{code: "The user executing the script can't", refused: true, right: true},

	// A matter of this call.
	{code: "TRYAGAIN", before: true, again: true},
	{code: "MOVED", before: true, again: true},
	{code: "ASK", before: true, again: true},
	{code: "UNKILLABLE", before: true, again: true},
	// mint.lua's: a call that had to wait for a second looks as if the clocks
	// disagreed.
	{code: "CLOCK", before: true, again: true},
	{code: "COLD", before: true},
}

// answerOf finds what an error says. ok is false for one that is no reply.
func answerOf(err error) (a answer, ok bool) {
	reply := (*rueidis.RedisError)(nil)
	if !errors.As(err, &reply) || reply.IsNil() {
		return a, false
	}
	text := strings.TrimPrefix(reply.Error(), "ERR ") // rueidis does so, too
	for _, a := range answers {
		if strings.HasPrefix(text, a.code) {
			return a, true
		}
	}
	return a, true
}

// refusedBy reports whether an error is about the state of Redis, or whether it
// did not answer at all: contact has a line and a state for both, so the call
// that failed needs none.
func (r *Relay) refusedBy(err error) bool {
	a, answered := answerOf(err)
	return !answered && !errors.Is(err, errMalformed) && !rueidis.IsParseErr(err) || a.refused
}

// notExecuted reports whether a call that failed did certainly not take effect;
// again says that it may succeed soon.
func notExecuted(err error) (certain, again bool) {
	a, ok := answerOf(err)
	if !ok {
		return neverSent(err), true
	}
	return a.before, a.again
}

// neverSent reports whether a call failed before it could reach Redis.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" || errors.Is(err, rueidis.ErrClosing)
}
