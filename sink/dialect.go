package sink

import "strings"

// dialect is the SQL of one database, as data. Every statement that the
// package runs on messages is here; a second database is a second value.
//
// What another database has to be able to say too: keyset pages, an upsert
// that changes nothing, and the number of rows an insert really added. So
// there is no INSERT OR IGNORE (it hides any violation, not just that of the
// key), no RETURNING, and every key starts with the room.
type dialect struct {
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

const pageColumns = `seq, prev, sender, client, info, send_key, body`

var sqliteDialect = dialect{
	// IMMEDIATE takes the write lock at once. A deferred transaction would
	// take it at its first write, where SQLite may answer BUSY without waiting.
	begin:    `BEGIN IMMEDIATE`,
	commit:   `COMMIT`,
	rollback: `ROLLBACK`,

	insertMessages: multiRow{
		insert:     `INSERT INTO messages (room, seq, prev, sender, client, info, send_key, dup_of, body) VALUES `,
		row:        `(?,?,?,?,?,?,?,?,?)`,
		onConflict: ` ON CONFLICT (room, seq) DO UPDATE SET seq = excluded.seq`,
		columns:    9,
	},
	claimSends: multiRow{
		insert:     `INSERT INTO sends (room, sender, send_key, seq) VALUES `,
		row:        `(?,?,?,?)`,
		onConflict: ` ON CONFLICT (room, sender, send_key) DO NOTHING`,
		columns:    4,
	},
	findSend: `SELECT seq FROM sends WHERE room = ? AND sender = ? AND send_key = ?`,

	last: `SELECT seq FROM messages WHERE room = ? ORDER BY seq DESC LIMIT 1`,
	after: `SELECT ` + pageColumns + ` FROM messages
		WHERE room = ? AND seq > ? AND seq <= ? AND dup_of = 0 ORDER BY seq LIMIT ?`,
	before: `SELECT ` + pageColumns + ` FROM messages
		WHERE room = ? AND seq < ? AND dup_of = 0 ORDER BY seq DESC LIMIT ?`,
	count: `SELECT COUNT(*) FROM (SELECT 1 FROM messages
		WHERE room = ? AND seq > ? AND seq <= ? AND dup_of = 0 LIMIT ?) AS page`,

	setEpoch: `INSERT INTO meta (name, value) VALUES ('epoch', ?) ON CONFLICT (name) DO NOTHING`,
	getEpoch: `SELECT value FROM meta WHERE name = 'epoch'`,
}
