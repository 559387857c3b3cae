// Package redis is the relay of a cluster: Redis orders the messages of a
// room and brings them to every node that has members there. DELIVERY's rules
// are kept here, in three scripts and the code around them:
//
//   - outbox: what this node publishes. One batch of a room is under way at a
//     time; workers drain all rooms that have something and mint it in one
//     pipeline of script calls (mint.lua), then hand it to the Log.
//   - feed: one connection to each primary with a sharded subscription for
//     every room that is in memory here.
//   - link: one such room. It delivers what links by epoch and prev with what
//     was delivered before, and otherwise asks Redis where the room stands
//     (sync.lua) and fills the gap, or resets the room.
//   - History: what is older than memory, from the stream while that has it,
//     else from the store.
//   - registry, control, presence: which nodes there are, what all of them are
//     to do, and who is where.
//
// Redis is the sequencer and not the archive: it may lose what it holds, fail
// over to a replica that lags, or be emptied. Then offsets go on rising,
// because every call brings what its node knows, and the epoch is renewed, so
// that clients learn that their position is worth nothing and load anew. A gap
// is never silent.
//
// What a room needs in Redis has one hash tag, {room}: the state (a hash), the
// stream, the idempotency keys and the presence.
//
// Goroutines: the minting workers, the sync workers, those that write presence,
// one each that tells confirmations, sweeps, beats, describes this node, reads
// orders and looks at presence, and for each primary a feed and its dispatcher.
// Relay.Close ends them.
package redis
