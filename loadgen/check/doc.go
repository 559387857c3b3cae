// Package check is how a run knows whether the server was right.
//
// Nouns: a Room has a sequence, the order in which its messages were seen, and
// a ledger, what was published to it. A Part is one event loop's share of a
// room; a Reader is one member's position. A Payload is what a message says of
// itself. A Comparison looks for what was acknowledged in a history. A Union is
// a room that several processes have members of, put together from the Account
// of each.
//
// There is no socket in it, and no goroutine. A Part and its Readers belong to
// one event loop, as does a Payload; a Room may be asked by all.
package check
