// Package api is the server API: what an application's back end asks of the
// node with POST /api/METHOD and a key, in the form of Centrifugo's server
// SDKs. docs/openapi.yaml describes it, and a test holds the two together.
//
// Nouns: an API serves the requests. A Key is who may ask. A request is the
// body of one method; run starts it and gives a pending, which waits for its
// result. A batch is many requests, run in order.
//
// Goroutines: those of the HTTP server, and one for each order that is given
// to the event loops: an order cannot be taken back, so a request whose time
// is up leaves it to end by itself.
//
// Every request is answered within Config.Answer, and no more than
// Config.Concurrent are worked on at once. Who may do what is decided by
// channels.Authorize, for which the server is a Caller like others.
//
// A Cluster is the other nodes, which orders and info concern; sessions know of
// presence on all of them.
//
// Caveats: channels are this node's. What is asked for
// and cannot be done (a session, a whitelist, binary data) is refused rather
// than left out, because leaving it out would reach more people than was
// meant; fields that are unknown are ignored, because SDKs send some.
package api
