package limits

import (
	"net/netip"
	"sync"
)

// Addresses counts the connections of each client network: an IPv4 address,
// or the /64 of an IPv6 address, which is what one customer has.
type Addresses struct {
	limit int // immutable; 0 stands for none

	mu    sync.Mutex
	slots map[netip.Addr]uint32 // guarded by mu: a network's place in counts
	nets  []network             // guarded by mu
	free  []uint32              // guarded by mu
}

type network struct {
	addr  netip.Addr
	conns int
}

// NewAddresses makes a counter that allows limit connections per network; 0
// counts nothing and allows everything.
func NewAddresses(limit int) *Addresses {
	// Place 0 is that of connections that are not counted.
	return &Addresses{limit: limit, slots: make(map[netip.Addr]uint32), nets: make([]network, 1)}
}

// Counting reports whether there is a limit.
func (a *Addresses) Counting() bool { return a.limit > 0 }

// Enter counts a connection, or returns false when its network has as many as
// it may. The place is what Leave wants: four bytes that a connection keeps
// instead of an address. Loopback is not counted: there sit proxies that
// nobody has named, and developers.
func (a *Addresses) Enter(addr netip.Addr) (place uint32, ok bool) {
	if a.limit <= 0 || !addr.IsValid() || addr.IsLoopback() {
		return 0, true
	}
	addr = clientNetwork(addr)
	a.mu.Lock()
	defer a.mu.Unlock()
	place, known := a.slots[addr]
	if !known {
		place = a.take(addr)
	}
	n := &a.nets[place]
	if n.conns >= a.limit {
		return 0, false
	}
	n.conns++
	return place, true
}

func (a *Addresses) take(addr netip.Addr) (place uint32) {
	if n := len(a.free); n > 0 {
		place, a.free = a.free[n-1], a.free[:n-1]
	} else {
		place = uint32(len(a.nets))
		a.nets = append(a.nets, network{})
	}
	a.nets[place].addr = addr
	a.slots[addr] = place
	return place
}

// Leave takes back an Enter. Place 0 is nobody's.
func (a *Addresses) Leave(place uint32) {
	if place == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	n := &a.nets[place]
	if n.conns--; n.conns == 0 {
		delete(a.slots, n.addr)
		*n = network{}
		a.free = append(a.free, place)
	}
}

// Networks is how many networks have connections.
func (a *Addresses) Networks() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.slots)
}

func clientNetwork(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		p, err := addr.Prefix(64)
		if err == nil {
			return p.Addr()
		}
	}
	return addr
}
