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
//   - Reader runs reads of a Store away from the callers that may not block.
//
// A message is safe when the callback given to Direct.Submit has been called
// without an error, and no sooner. DELIVERY.md has the rules.
//
// Goroutines: one for each Direct, Workers for each Reader, and those of
// database/sql for each open Store. All end with Close; close Direct and
// Reader before the Store under them.
//
// Caveats. Offsets are stored as signed 64-bit integers, so one above 2^63-1
// is refused. The lock of the data directory is flock(2): do not put the
// directory on a network file system, which SQLite's WAL cannot use either.
//
// The SQL drivers are imported here and nowhere else. This package knows
// neither sockets nor rooms with members; server joins them.
package sink
