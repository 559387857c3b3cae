// Package kafka is the log: a message that Kafka has is durable, long before it
// is in a database. Its nouns:
//
//   - Producer makes minted messages durable, within a sink.Budget, and never
//     gives one up.
//   - Monitor asks the leader of every partition, each second: whether it
//     answers, and where the partition ends.
//   - Record is what a record of the topic says: a message, or a heal.
//   - Config is where the log is; Dial makes a client from it, for those who
//     read the topic.
//
// Goroutines: those of the client library, one for each Producer and one for
// each Monitor. All end with Close.
//
// Caveats. An acknowledgement means all in-sync replicas: with one broker that
// is its page cache, which survives kill -9 and not power loss. A topic that is
// created with three replicas or more gets min.insync.replicas=2; to give one
// to a topic that exists is the operator's. The number of partitions decides
// which partition a room is in: it may grow, since the store takes records in
// any order, but a room's order is then made by its offsets alone.
package kafka
