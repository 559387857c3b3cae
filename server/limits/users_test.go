package limits

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestUsers(t *testing.T) {
	u := NewUsers(2)
	a, b := u.Enter("alice"), u.Enter("bob")
	if a == nil || b == nil || a.Name != "alice" || b.Name != "bob" || a == b {
		t.Fatalf("%v, %v", a, b)
	}
	if again := u.Enter("alice"); again != a {
		t.Errorf("alice is kept twice: %v", again)
	}
	if u.Enter("alice") != nil {
		t.Error("a third connection was allowed")
	}
	u.Leave(a)
	if u.Enter("alice") != a {
		t.Error("a place that was left is not free")
	}
	u.Leave(a)
	u.Leave(a)
	u.Leave(b)
	u.Leave(nil)
	if u.Len() != 0 {
		t.Errorf("%d users are left", u.Len())
	}
}

func TestUsersWithoutALimit(t *testing.T) {
	u := NewUsers(0)
	var all []*User
	for i := range 10_000 {
		user := u.Enter(fmt.Sprint("user-", i%100))
		if user == nil {
			t.Fatal("no limit refused")
		}
		all = append(all, user)
	}
	if u.Len() != 100 {
		t.Errorf("%d users, want 100", u.Len())
	}
	for _, user := range all {
		u.Leave(user)
	}
	if u.Len() != 0 {
		t.Errorf("%d users are left", u.Len())
	}
}

// Whoever comes and goes in whatever order, the count is right and the table
// is as large as its users need.
func TestUsersComeAndGo(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	u := NewUsers(3)
	here := make(map[string][]*User)
	for i := range 200_000 {
		grow := i/20_000%2 == 0 // in waves
		name := fmt.Sprint("user-", rng.IntN(5_000))
		mine := here[name]
		if coming := rng.IntN(4) > 0; coming == grow {
			user := u.Enter(name)
			switch {
			case (user == nil) != (len(mine) == 3):
				t.Fatalf("seed %d: %s with %d connections: %v", seed, name, len(mine), user)
			case user != nil && (user.Name != name || len(mine) > 0 && user != mine[0]):
				t.Fatalf("seed %d: %s entered as %v, is %v", seed, name, user, mine)
			case user != nil:
				here[name] = append(mine, user)
			}
		} else if len(mine) > 0 {
			u.Leave(mine[0])
			if here[name] = mine[1:]; len(mine) == 1 {
				delete(here, name)
			}
		}
		if i%64 == 0 && u.Len() != len(here) {
			t.Fatalf("seed %d: %d users are counted, %d are here", seed, u.Len(), len(here))
		}
		table := &u.tables[i%len(u.tables)]
		if n := len(table.buckets); n > minBuckets && (table.users > n || table.users < n/4) {
			t.Fatalf("seed %d: %d buckets for %d users", seed, n, table.users)
		}
	}
	for _, mine := range here {
		for _, user := range mine {
			u.Leave(user)
		}
	}
	if n := len(u.tables[0].buckets); u.Len() != 0 || n != minBuckets {
		t.Errorf("seed %d: %d users and %d buckets of the first table are left", seed, u.Len(), n)
	}
}
