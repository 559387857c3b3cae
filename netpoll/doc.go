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
// # Two engines
//
// What a Loop stands on is a poller, of which there are two (poller.go has what they
// promise):
//
//   - epoll (epoll_linux.go), the default on Linux: an epoll set and system calls on the
//     sockets themselves. Nothing but the Conn is kept of a connection.
//   - nbio (nbio.go), for macOS and FreeBSD, and on Linux where it is asked for: the raw
//     engine of github.com/lesismal/nbio, without its HTTP and its WebSockets.
//
// Everything above the poller is the same code, on the same goroutine, and held by the
// same tests: `make engines`. docs/decisions/engines.md has why epoll is not nbio's, and
// what each costs.
//
// Caveats: no TLS, it ends at the proxy. With nbio a peer that ends its side of a
// connection ends the connection.
package netpoll
