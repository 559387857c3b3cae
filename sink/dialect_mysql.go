package sink

// mysqlDialect is for MySQL 8, MariaDB and PlanetScale alike: VALUES(column)
// and not MySQL's newer row alias, which MariaDB does not know.
var mysqlDialect = dialect{
	// Twice the rows gained nothing. Half of them cost a tenth.
	pageRows: 500,
	// A statement of ordinary messages has 200 KB. Large ones must stay below
	// max_allowed_packet, which nobody sets under 16 MB.
	maxBytes: 2 << 20,
	classify: classifyMySQL,

	begin:    `START TRANSACTION`,
	commit:   `COMMIT`,
	rollback: `ROLLBACK`,

	// A message replaces a tombstone, and nothing replaces a message. dup_of
	// is what is asked, so it is set last: MySQL assigns from left to right.
	insertMessages: multiRow{
		insert: `INSERT INTO messages (` + messageColumns + `) VALUES `,
		row:    `(?,?,?,?,?,?,?,?,?)`,
		onConflict: ` ON DUPLICATE KEY UPDATE seq = VALUES(seq),
			prev = IF(dup_of = -1, VALUES(prev), prev),
			sender = IF(dup_of = -1, VALUES(sender), sender),
			client = IF(dup_of = -1, VALUES(client), client),
			info = IF(dup_of = -1, VALUES(info), info),
			send_key = IF(dup_of = -1, VALUES(send_key), send_key),
			body = IF(dup_of = -1, VALUES(body), body),
			dup_of = IF(dup_of = -1, VALUES(dup_of), dup_of)`,
		columns: 9,
	},
	claimSends: multiRow{
		insert:     `INSERT INTO sends (room, sender, send_key, seq) VALUES `,
		row:        `(?,?,?,?)`,
		onConflict: ` ON DUPLICATE KEY UPDATE room = VALUES(room)`, // keeps the first seq
		columns:    4,
	},
	// FOR UPDATE reads what is committed now. A plain read would see the
	// transaction's snapshot, which may be older than the row that was met.
	findSend: `SELECT seq FROM sends WHERE room = ? AND sender = ? AND send_key = ? FOR UPDATE`,

	last: `SELECT seq FROM messages WHERE room = ? ORDER BY seq DESC LIMIT 1`,
	after: `SELECT ` + pageColumns + ` FROM messages
		WHERE room = ? AND seq > ? AND seq <= ? AND dup_of = 0 ORDER BY seq LIMIT ?`,
	before: `SELECT ` + pageColumns + ` FROM messages
		WHERE room = ? AND seq < ? AND dup_of = 0 ORDER BY seq DESC LIMIT ?`,
	count: `SELECT COUNT(*) FROM (SELECT 1 FROM messages
		WHERE room = ? AND seq > ? AND seq <= ? AND dup_of = 0 LIMIT ?) AS page`,

	setEpoch: `INSERT INTO meta (name, value) VALUES ('epoch', ?) ON DUPLICATE KEY UPDATE name = VALUES(name)`,
	getEpoch: `SELECT value FROM meta WHERE name = 'epoch'`,

	probe: `UPDATE meta SET value = value WHERE name = 'epoch'`, // a server that refuses writes refuses it, too

	block:       `INSERT INTO blocked (list, name, ends) VALUES ('users', ?, ?) ON DUPLICATE KEY UPDATE ends = VALUES(ends)`,
	unblock:     `DELETE FROM blocked WHERE list = 'users' AND name = ?`,
	dropBlocked: `DELETE FROM blocked WHERE list = 'users' AND ends > 0 AND ends <= ? LIMIT ?`,
	blocked: `SELECT name, ends FROM blocked
		WHERE list = 'users' AND name > ? AND (ends = 0 OR ends > ?) ORDER BY name LIMIT ?`,

	log: logDialect{
		addTombstones: multiRow{
			insert:     `INSERT INTO messages (` + messageColumns + `) VALUES `,
			row:        `(?,?,?,'','','','',-1,'')`,
			onConflict: ` ON DUPLICATE KEY UPDATE seq = VALUES(seq)`,
			columns:    3,
		},
		findTombstone: `SELECT 1 FROM messages WHERE room = ? AND seq = ? AND dup_of = -1`,
		below:         `SELECT seq FROM messages WHERE room = ? AND seq < ? ORDER BY seq DESC LIMIT 1`,

		addPosition: `INSERT INTO positions (topic, part, pos, moved) VALUES (?, ?, 0, ?)
			ON DUPLICATE KEY UPDATE topic = VALUES(topic)`,
		getPosition:  `SELECT pos, moved FROM positions WHERE topic = ? AND part = ?`,
		movePosition: `UPDATE positions SET pos = ?, moved = ? WHERE topic = ? AND part = ? AND pos = ?`,

		addRepair: `INSERT INTO repairs (topic, part, room, seq, epoch, since) VALUES (?, ?, ?, ?, ?, ?)
			ON DUPLICATE KEY UPDATE epoch = VALUES(epoch)`,
		getRepairs: `SELECT room, seq, epoch, since FROM repairs WHERE topic = ? AND part = ? ORDER BY room, seq LIMIT ?`,
		endRepair:  `DELETE FROM repairs WHERE topic = ? AND part = ? AND room = ? AND seq = ? AND epoch = ?`,
	},
}
