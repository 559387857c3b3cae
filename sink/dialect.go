package sink

import "strings"

// dialect is the SQL of one database, as data. Every statement that the
// package runs on messages is here; docs/sql.md lists them, and a test holds
// the list to this.
//
// What a database has to be able to say: keyset pages, an upsert that changes
// nothing, and the number of rows an insert really added. So there is no
// INSERT IGNORE (it hides any violation, not just that of the key), no
// RETURNING, and every statement on messages names the room.
type dialect struct {
	// How the writer talks: statements prepared once on one connection that
	// it keeps, or texts on whatever connection the pool gives.
	prepared bool
	pageRows int // rows in one INSERT, at most
	maxBytes int // of one INSERT, roughly; 0: no limit

	// classify makes errors.Is(err, ErrBusy), ErrData or ErrUnavailable true of
	// the database's errors where their comments say so.
	classify func(error) error

	begin, commit, rollback string

	insertMessages multiRow // room, seq, prev, sender, client, info, send_key, dup_of, body
	claimSends     multiRow // room, sender, send_key, seq; adds no row for a key that is taken
	findSend       string   // room, sender, send_key -> seq

	last   string // room -> seq
	after  string // room, after, upTo, limit -> pageColumns
	before string // room, before, limit -> pageColumns
	count  string // room, after, upTo, max -> number of rows, at most max

	setEpoch string // value; changes nothing once there is one
	getEpoch string // -> value

	probe string // writes something that means nothing, to see whether writes are taken

	block       string // user, until
	unblock     string // user
	dropBlocked string // now, limit: those whose time is over
	blocked     string // after this user, now, limit -> user, until; in the order of users

	log logDialect // of a database that a log is written to
}

// logDialect is what a writer from the log needs beside.
type logDialect struct {
	addTombstones multiRow // room, seq, prev; adds no row for a message that is stored
	findTombstone string   // room, seq -> a row if it is one
	below         string   // room, seq -> the seq before it

	addPosition  string // topic, part, moved; changes nothing once there is one
	getPosition  string // topic, part -> pos, moved
	movePosition string // pos, moved, topic, part, the pos it was

	addRepair  string // topic, part, room, seq, epoch, since
	getRepairs string // topic, part, limit -> room, seq, epoch, since
	endRepair  string // topic, part, room, seq, epoch
}

// multiRow is an INSERT of any number of rows.
type multiRow struct {
	insert, row, onConflict string
	columns                 int
}

// text returns the statement for n rows.
func (m multiRow) text(n int) string {
	return m.insert + strings.TrimSuffix(strings.Repeat(m.row+",", n), ",") + m.onConflict
}

const (
	messageColumns = `room, seq, prev, sender, client, info, send_key, dup_of, body`
	pageColumns    = `seq, prev, sender, client, info, send_key, body`
)
