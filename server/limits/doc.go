// Package limits says who is turned away before anything is done for them:
// how many connections an address may have, how fast a connection may talk,
// which pages may connect, and whose word about a client's address is taken.
//
// Nouns: Rate and Bucket (a GCRA in eight bytes), Addresses (connections per
// client network), Origins (the allow-list of pages), Proxies (the networks
// whose X-Forwarded-For is believed).
//
// No goroutine and no timer: a Bucket is refilled by the clock when it is
// asked. Addresses may be used from several loops at once; a Bucket belongs to
// its connection's loop; the others are immutable.
package limits
