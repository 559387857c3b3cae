// Package sink is the durable path: it makes messages survive the process, and
// finds them again. Its nouns:
//
//   - Store is the SQL database: history, idempotency keys, the epoch. It is
//     SQLite, one file, or MySQL; the text of its SQL is a dialect.
//   - MySQL is a Store that other processes use too. It is written from a log
//     with Commit: what was read, and how far, in one transaction.
//   - Direct is the direct writer: it queues messages within a budget and
//     commits them to a Store in batches, so that Submit can be called where
//     nothing may block.
//   - Budget is admission: what may be on its way to durability, before
//     anybody sees it. DirectLog is a Direct behind one, for messages that
//     have been minted and seen; kafka.Producer is its like, with Kafka.
//   - Reader runs reads of a Store away from the callers that may not block.
//
// A message is safe when the callback given to Submit or Produce has been
// called without an error, and no sooner. DELIVERY.md has the rules. Beneath
// are kafka, which is the log, and writer, which brings the log to MySQL.
//
// Goroutines: one for each Direct, two for each DirectLog, Workers for each
// Reader, one for each Store, which looks after the database every second, and
// those of database/sql. All end with Close;
// close the others before the Store under them.
//
// Caveats. Offsets are stored as signed 64-bit integers, so one above 2^63-1
// is refused. The lock of the data directory is flock(2): do not put the
// directory on a network file system, which SQLite's WAL cannot use either.
// What a session of MySQL is like is said on every connection, see
// sessionSettings. Of a process that is paused within a transaction the server drops
// the locks after 15 s.
//
// docs/sql.md has every statement. The SQL drivers are imported here and
// nowhere else. This package knows
// neither sockets nor rooms with members; server joins them.
package sink
