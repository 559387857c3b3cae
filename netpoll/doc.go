// Package netpoll holds very many WebSocket connections on a few goroutines.
//
// Nouns: an Engine has Loops and one listener; a Loop owns Conns; a Conn
// reads frames and writes them; a Handler is what the layer above makes of a
// Conn. Protocol without policy: who may connect, and what a message means,
// is the Handler's.
//
// Goroutines: one per Loop. Everything about a Conn (its reads, its Handler's
// calls, its writes, its end) happens on its Loop's goroutine, so a Conn needs no lock, a Handler's calls never overlap, and
// Closed comes after everything else. Other goroutines reach a Conn through
// Loop.Post alone. A connection has no goroutine, no timer and, between
// messages, no buffer: Conn is 64 bytes, and deadlines are found by a sweep.
//
// Framing is gobwas/ws (header rules, masking) applied to bytes that we read
// ourselves. A handshake's head is read by net/textproto and its lists by
// internal/httplist, as the HTTP server's are; whose a request is, a loop's or the
// HTTP server's, is decided in route.go alone. The rules are held by tables and a fuzz test of our own;
// `make autobahn` runs the Autobahn suite where that can be had.
//
// # Why the event loop is our own
//
// The design began with nbio's engine below us. Three of its properties cost
// more than the lines that replace it:
//
//   - Memory. Its Conn is 208 bytes and keeps two net.TCPAddr (another 160)
//     and a place in a table of MaxOpenFiles entries. An idle connection here
//     costs less in all than that part alone did; docs/memory.md has the sum.
//   - Threads. A poller of nbio only reads, and its writes take a lock,
//     because deliveries come from another goroutine. Here the room shard
//     runs inside the loop's turn (Loop.OnTurn): reading, delivering and
//     writing share a goroutine, and a Conn needs no lock.
//   - Ends. nbio drops queued bytes on Close, reports OnClose from another
//     goroutine, where it can overtake what it follows, is invisible to the
//     race detector, and copies what a slow reader left untaken. Here a close
//     frame is flushed, Closed is the last call, and a slow reader keeps at
//     most the rest of one frame: the others stay in the log they came from.
//
// Caveats: Linux only. No TLS: it ends at the proxy.
package netpoll
