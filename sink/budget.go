package sink

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hubbub-chat/hubbub/internal/contact"
	"github.com/hubbub-chat/hubbub/schema"
)

// ErrStalled is returned by a Budget while what was produced is not becoming
// durable. It is temporary.
var ErrStalled = errors.New("messages are not becoming durable")

// BudgetConfig says how much may be on its way to durability. The zero value
// of a number means its default.
type BudgetConfig struct {
	MaxRecords int           // default 65,536
	MaxBytes   int           // by Message.Size, default 64 MiB
	MaxAge     time.Duration // of the oldest message, default 2 s
	MaxSize    int           // Message.Size of one message; 0: no limit

	// Contact is with what makes messages durable: nothing is let in while it
	// takes no writes. nil: only MaxAge tells.
	Contact *contact.Contact
}

// BudgetStats is what a Budget counts at one moment.
type BudgetStats struct {
	Records, Bytes int           // reserved or on their way
	Reserved       int           // of these, those that wait to be minted
	Unreserved     int           // of these, those that nobody reserved: they are another node's
	Oldest         time.Duration // age of the oldest on its way
	Refused        uint64        // in all, because there was no room
	Stalled        uint64        // refused because nothing was becoming durable
}

// Budget is admission before anything is shown: a message that nobody will be
// able to keep is refused while nobody has seen it. What has been minted is
// never refused, so it may go over the budget.
//
// A reservation belongs to the pointer: the same *schema.Message is to be
// released or taken. (Rejected: amounts without names. What was minted on a
// node that died is produced here without a reservation, by the same method,
// and would eat up the reservations of others.)
//
// All methods may be called concurrently and never block.
type Budget struct {
	cfg   BudgetConfig // immutable
	start time.Time    // immutable

	// Guarded by mu.
	mu       sync.Mutex
	reserved map[*schema.Message]int // bytes
	flights  []flight                // a queue; those from head on are on their way or behind one that is
	head     int
	first    Flight // the name of flights[head]
	held     BudgetStats
}

// Flight is the name of a message on its way.
type Flight uint64

type flight struct {
	since    time.Duration // since start
	size     int
	reserved bool
	landed   bool
}

// NewBudget makes a budget.
func NewBudget(cfg BudgetConfig) *Budget {
	if cfg.MaxRecords == 0 {
		cfg.MaxRecords = 65_536
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 64 << 20
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = 2 * time.Second
	}
	return &Budget{cfg: cfg, start: time.Now(), reserved: make(map[*schema.Message]int)}
}

// Reserve makes room for a message, or says why there is none: ErrFull,
// ErrStalled, or schema.ErrBadRequest for a message that will never fit.
func (b *Budget) Reserve(m *schema.Message) error {
	size := m.Size()
	if err := b.check(m, size); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.oldest() > b.cfg.MaxAge, b.cfg.Contact != nil && b.cfg.Contact.State() != contact.Answers:
		b.held.Stalled++
		return ErrStalled
	case b.held.Records >= b.cfg.MaxRecords || size > b.cfg.MaxBytes-b.held.Bytes:
		b.held.Refused++
		return ErrFull
	}
	if _, twice := b.reserved[m]; twice {
		return nil
	}
	b.reserved[m] = size
	b.held.Records++
	b.held.Reserved++
	b.held.Bytes += size
	return nil
}

// check refuses what a log or a store would refuse later, when it is too late.
func (b *Budget) check(m *schema.Message, size int) error {
	const column = 255 // bytes of every name in every store
	switch {
	case m.Room == "" || len(m.Room) > schema.MaxChannelLen:
		return schema.ErrBadRequest.Because("channel name does not fit the store")
	case len(m.User) > column || len(m.Client) > column || len(m.Key) > column:
		return schema.ErrBadRequest.Because("user, client or key is longer than 255 bytes")
	case b.cfg.MaxSize > 0 && size > b.cfg.MaxSize:
		return schema.ErrBadRequest.Because("message is larger than the store takes")
	}
	return nil
}

// Release gives back what was reserved for a message that was not minted.
func (b *Budget) Release(m *schema.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if size, ok := b.reserved[m]; ok {
		delete(b.reserved, m)
		b.held.Records--
		b.held.Reserved--
		b.held.Bytes -= size
	}
}

// Take turns a reservation into a message on its way, or lets a message in
// that nobody reserved.
func (b *Budget) Take(m *schema.Message) Flight {
	b.mu.Lock()
	defer b.mu.Unlock()
	size, reserved := b.reserved[m]
	if reserved {
		delete(b.reserved, m)
		b.held.Reserved--
	} else {
		size = m.Size()
		b.held.Records++
		b.held.Unreserved++
		b.held.Bytes += size
	}
	b.flights = append(b.flights, flight{since: time.Since(b.start), size: size, reserved: reserved})
	return b.first + Flight(len(b.flights)-b.head-1)
}

// Land ends a message's way: it is durable, or has been given up.
func (b *Budget) Land(f Flight) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := &b.flights[b.head+int(f-b.first)]
	l.landed = true
	b.held.Records--
	b.held.Bytes -= l.size
	if !l.reserved {
		b.held.Unreserved--
	}
	for b.head < len(b.flights) && b.flights[b.head].landed {
		b.head++
		b.first++
	}
	switch {
	case b.head == len(b.flights):
		b.flights, b.head = b.flights[:0], 0
		if cap(b.flights) > 4096 {
			b.flights = nil // a burst is over
		}
	case b.head >= 1024 && b.head > len(b.flights)/2:
		b.flights, b.head = b.flights[:copy(b.flights, b.flights[b.head:])], 0
	}
}

// oldest is the age of the oldest message on its way.
func (b *Budget) oldest() time.Duration {
	if b.head == len(b.flights) {
		return 0
	}
	return time.Since(b.start) - b.flights[b.head].since
}

// Ready returns why nothing is let in, or nil. name is what the log is called.
func (b *Budget) Ready(name string) error {
	if b.cfg.Contact != nil {
		if err := b.cfg.Contact.Status().Problem(b.cfg.Contact.Name()); err != nil {
			return err
		}
	}
	if oldest := b.Stats().Oldest; oldest > b.cfg.MaxAge {
		return fmt.Errorf("%s: %w: one has been on its way for %v", name, ErrStalled, oldest.Round(time.Millisecond))
	}
	return nil
}

// Stats returns what is held now.
func (b *Budget) Stats() BudgetStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	stats := b.held
	stats.Oldest = b.oldest()
	return stats
}
