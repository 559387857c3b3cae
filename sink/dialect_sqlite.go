package sink

var sqliteDialect = dialect{
	prepared: true,
	// A batch to one room gains a third from 1 to 32 rows and nothing beyond.
	pageRows: 32,
	classify: classifySQLite,

	// IMMEDIATE takes the write lock at once. A deferred transaction would
	// take it at its first write, where SQLite may answer BUSY without waiting.
	begin:    `BEGIN IMMEDIATE`,
	commit:   `COMMIT`,
	rollback: `ROLLBACK`,

	insertMessages: multiRow{
		insert:     `INSERT INTO messages (` + messageColumns + `) VALUES `,
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

	// 64 KiB that are never the same: as much as a batch, and SQLite writes no
	// page that does not change.
	probe: `INSERT INTO meta (name, value) VALUES ('probe', hex(randomblob(32768))) ON CONFLICT (name) DO UPDATE SET value = excluded.value`,

	block:   `INSERT INTO blocked (list, name, ends) VALUES ('users', ?, ?) ON CONFLICT (list, name) DO UPDATE SET ends = excluded.ends`,
	unblock: `DELETE FROM blocked WHERE list = 'users' AND name = ?`,
	dropBlocked: `DELETE FROM blocked WHERE list = 'users' AND name IN (
		SELECT name FROM blocked WHERE list = 'users' AND ends > 0 AND ends <= ? LIMIT ?)`,
	blocked: `SELECT name, ends FROM blocked
		WHERE list = 'users' AND name > ? AND (ends = 0 OR ends > ?) ORDER BY name LIMIT ?`,
}
