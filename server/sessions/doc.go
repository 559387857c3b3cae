// Package sessions speaks the Centrifuge client protocol: it is the policy
// that netpoll's connections and fanout's rooms do without.
//
// Nouns: Sessions is the set of them, with what they are served from. A lane
// is the share of one event loop: its decoder, its shard and the commands that
// wait for an answer. A session is one client. A subscription is a session in
// a room; while it reads its room from the store it is an opening, while it
// recovers it is a catchUp. A request is what a method wants that clients call
// by name (rpc).
//
// Goroutines: none. Everything runs on the loops; the store is read by the
// sink's readers, and what they bring is posted back. Nothing here blocks: a
// command that cannot be answered at once waits in its lane, and is answered
// with a temporary error after four seconds whatever happens (SDKs give up
// after five).
//
// A session at rest is 48 bytes, a subscription 48; names and tokens are kept
// only where a client has them.
package sessions
