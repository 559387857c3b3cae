// Package writer brings the log to the database: a consumer group on Kafka's
// side, transactions on MySQL's, and each record's effect once. Its nouns:
//
//   - Writer is one member of the group. Any number of them share the
//     partitions; one is enough for 50,000 rows a second.
//   - session is a Writer's membership, from joining to leaving.
//   - batch is what was polled and is stored in one transaction.
//   - Stream is the relay's memory of recent messages, with which holes are
//     repaired.
//
// Where it stands is in the database alone, and moves in the transaction that
// stores, by compare-and-set; see sink.Commit. So there is one way to recover
// from anything, a lost connection, a commit of unknown outcome, a writer that
// was paused while another took over, a database that fell back in time: read
// the positions and go on from there (session.rewind).
//
// Goroutines: one that stores and one that repairs for each Writer, and those
// of the client library; Close ends them all.
//
// Caveats. A record is either stored, or in the dead-letter topic: a writer
// that can reach neither waits. A message that another points at and nobody
// has stored after a minute is a loss, and an error in the log; the room's
// history goes on behind it.
package writer
