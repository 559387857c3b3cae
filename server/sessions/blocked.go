package sessions

import (
	"sync"
	"time"

	"github.com/hubbub-chat/hubbub/schema"
)

// blocked is the users who may not connect, whatever token they bring.
//
// A token is good until it expires, so who is thrown out comes back with it;
// and who issues tokens knows best for how long that is. Hence a list with an
// end for each entry, in memory; the store has it too, for nodes that start.
// (Rejected: a list of tokens, by jti or
// time of issue. It asks the issuer to keep what it has issued, and lets a user
// in whose second device got a token of its own.)
type blocked struct {
	mu    sync.RWMutex
	until map[string]int64 // guarded by mu: user to Unix seconds, 0 for no end

	changes int // guarded by mu: times that somebody was blocked or unblocked
}

// maxBlocked bounds the list.
const maxBlocked = 100_000

// Block keeps a user out until a Unix time, 0 for no end, and closes the
// sessions it has. Never call it on a loop.
func (all *Sessions) Block(user string, until int64) error {
	b := &all.blocked
	b.mu.Lock()
	if len(b.until) >= maxBlocked {
		b.sweep(time.Now())
	}
	_, known := b.until[user]
	if !known && len(b.until) >= maxBlocked {
		b.mu.Unlock()
		return schema.ErrLimitExceeded.Because("too many users are blocked")
	}
	if b.until == nil {
		b.until = make(map[string]int64)
	}
	b.until[user] = until
	b.changes++
	b.mu.Unlock()
	// Whoever was let in before the entry stood there has connected by the
	// time its loop carries this out.
	all.Disconnect(Target{User: user}, schema.ClosePermissionDenied)
	return nil
}

// RefreshBlocked replaces the list by what read finds in the store, and closes the
// sessions of those who were not on it: an order may have got lost. Never call
// it on a loop.
func (all *Sessions) RefreshBlocked(read func() (map[string]int64, error)) error {
	b := &all.blocked
	b.mu.RLock()
	before := b.changes
	b.mu.RUnlock()
	users, err := read()
	if err != nil {
		return err
	}
	var fresh []string
	b.mu.Lock()
	if b.changes == before { // else the list is newer than what was read
		for user := range users {
			if _, known := b.until[user]; !known {
				fresh = append(fresh, user)
			}
		}
		b.until = users
	}
	b.mu.Unlock()
	for _, user := range fresh {
		all.Disconnect(Target{User: user}, schema.ClosePermissionDenied)
	}
	return nil
}

// Unblock lets a user in again.
func (all *Sessions) Unblock(user string) {
	b := &all.blocked
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.until, user)
	b.changes++
}

// has reports whether a user is kept out.
func (b *blocked) has(user string, now time.Time) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	until, ok := b.until[user]
	return ok && (until == 0 || now.Unix() < until)
}

// sweep forgets whose time is over. Called with mu held.
func (b *blocked) sweep(now time.Time) {
	for user, until := range b.until {
		if until != 0 && until <= now.Unix() {
			delete(b.until, user)
		}
	}
}
