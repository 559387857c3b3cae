// Package fanout decides who hears what, in which order.
//
// Nouns: the Hub knows the Rooms that are awake on this node. A Room knows
// its newest messages and its parts. A part is the share of a room on one
// Shard in one codec: its log and its Members. A Shard is the part of the hub
// that lives on one event loop. A relay (Local here) gives messages their
// offsets and brings them to the Hub.
//
// Goroutines: a Shard has none of its own; it runs in its loop's turn, and
// owns its parts and members without a lock. Deliver runs on the relay's
// goroutine; between the two stand one mutex per room (its newest messages,
// which parts there are) and one per shard (its inbox). Hub.Run forgets rooms
// that nobody needs and loads the ones somebody wants.
//
// A message is encoded once per codec, copied once into each part's log, and
// written to each member from there: log[cursor:end], one write(2), however
// many messages that is. See log and part.
//
// Caveats: a room's members on one loop are served in passes of a bounded
// number of writes a turn, so a very large room does not hold up small ones.
// An unread log is bounded (Config.LogBytes): a member that stops reading is
// closed, a room that outruns its shard is refused new messages.
package fanout
