package redis

import (
	"encoding/hex"
	"strconv"
	"strings"
)

// keyspace names what belongs to Hubbub in a Redis that may serve others too.
type keyspace string

// A room's name stands between braces, the hash tag: braces within it would
// end the tag early, and two rooms could share a name.
var (
	escaper   = strings.NewReplacer("%", "%25", "{", "%7B", "}", "%7D")
	unescaper = strings.NewReplacer("%25", "%", "%7B", "{", "%7D", "}")
)

// state is the key of a room's state, and the name of its Pub/Sub channel.
func (k keyspace) state(room string) string { return string(k) + ":{" + escaper.Replace(room) + "}" }

// room is the inverse of state.
func (k keyspace) room(state string) (string, bool) {
	s, ok := strings.CutPrefix(state, string(k)+":{")
	if !ok {
		return "", false
	}
	s, ok = strings.CutSuffix(s, "}")
	return unescaper.Replace(s), ok
}

func stream(state string) string { return state + ":stream" }

func idempotency(state string, id [16]byte) string {
	return state + ":key:" + hex.EncodeToString(id[:])
}

// boots has a room's nodes, users its users, and present the clients on one
// node.
func boots(state string) string { return state + ":boots" }

func users(state string) string { return state + ":users" }

func present(state, boot string) string { return state + ":in:" + boot }

// nodes has what all nodes tell of themselves, orders what all are to do.
func (k keyspace) nodes() string { return string(k) + ":nodes" }

func (k keyspace) orders() string { return string(k) + ":orders" }

// lease is the key that says that a node's boot is alive.
func (k keyspace) lease(boot string) string { return string(k) + ":node:" + boot }

// probe is a key for finding out whether a primary takes writes.
func (k keyspace) probe(i int) string { return string(k) + ":probe:{" + strconv.Itoa(i) + "}" }

// sound is a channel beside it that one node hears.
func (k keyspace) sound(probe, boot string) string { return probe + ":" + boot }
