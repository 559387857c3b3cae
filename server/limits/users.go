package limits

import (
	"hash/maphash"
	"sync"
)

// Users counts the connections of each user, and keeps each name once however
// many there are.
//
// They are hash tables of its own, chained through the users, because of what
// an entry costs: 8 to 32 bytes beside the User, 11 on average. (Rejected: a
// map by name, which takes 28 to 57, and never shrinks.) There are several, so
// that a loop which has to resize one does so for a share of the users.
type Users struct {
	// immutable
	limit int // 0 stands for none
	seed  maphash.Seed

	tables [1 << tableBits]userTable
}

// userTable is the users with the same low bits of their hash.
type userTable struct {
	// guarded by mu
	mu      sync.Mutex
	buckets []*User // a power of two; for a quarter as many users at least, for as many at most
	users   int
}

// User is one user for as long as it has connections.
type User struct {
	Name string // immutable

	// guarded by its table's mu
	next  *User // of the same bucket
	hash  uint32
	conns int32
}

const (
	tableBits  = 6 // of a hash, by which a user has its table
	minBuckets = 8
)

// NewUsers makes a counter that allows limit connections per user; 0 allows
// everything.
func NewUsers(limit int) *Users {
	u := &Users{limit: limit, seed: maphash.MakeSeed()}
	for i := range u.tables {
		u.tables[i].buckets = make([]*User, minBuckets)
	}
	return u
}

// Enter counts a connection of a user, or returns nil when it has as many as
// it may. Leave takes it back.
func (u *Users) Enter(name string) *User {
	hash := uint32(maphash.String(u.seed, name))
	t := u.table(hash)
	t.mu.Lock()
	defer t.mu.Unlock()
	user := *t.find(hash, name)
	if user == nil {
		user = &User{Name: name, hash: hash}
		t.insert(user)
		if t.users++; t.users > len(t.buckets) {
			t.resize(2 * len(t.buckets))
		}
	}
	if u.limit > 0 && int(user.conns) >= u.limit {
		return nil
	}
	user.conns++
	return user
}

// Leave takes back an Enter. A nil user is nobody.
func (u *Users) Leave(user *User) {
	if user == nil {
		return
	}
	t := u.table(user.hash)
	t.mu.Lock()
	defer t.mu.Unlock()
	if user.conns--; user.conns > 0 {
		return
	}
	*t.find(user.hash, user.Name) = user.next
	if t.users--; t.users < len(t.buckets)/4 && len(t.buckets) > minBuckets {
		t.resize(len(t.buckets) / 2)
	}
}

func (u *Users) table(hash uint32) *userTable { return &u.tables[hash%uint32(len(u.tables))] }

// find returns where the user hangs, or would. Called with mu held.
func (t *userTable) find(hash uint32, name string) **User {
	p := t.bucket(hash)
	for *p != nil && ((*p).hash != hash || (*p).Name != name) {
		p = &(*p).next
	}
	return p
}

func (t *userTable) bucket(hash uint32) **User {
	return &t.buckets[int(hash>>tableBits)&(len(t.buckets)-1)]
}

// insert hangs a user that is not there. Called with mu held.
func (t *userTable) insert(user *User) {
	p := t.bucket(user.hash)
	user.next, *p = *p, user
}

// resize hangs all users anew. Called with mu held.
func (t *userTable) resize(buckets int) {
	old := t.buckets
	t.buckets = make([]*User, buckets)
	for _, user := range old {
		for user != nil {
			next := user.next
			t.insert(user)
			user = next
		}
	}
}

// Len is how many users have connections.
func (u *Users) Len() (n int) {
	for i := range u.tables {
		t := &u.tables[i]
		t.mu.Lock()
		n += t.users
		t.mu.Unlock()
	}
	return n
}
