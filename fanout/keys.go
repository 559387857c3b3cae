package fanout

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/hubbub-chat/hubbub/schema"
)

// Duplicate is what done gets for a message whose sender has used its key for
// the same message before: that one is durable, under this offset, and this
// one was neither stored nor delivered. It is an error so that a relay needs
// no other way to say it; who publishes takes it for a success (errors.As).
type Duplicate struct{ Offset uint64 }

func (d Duplicate) Error() string {
	return fmt.Sprintf("the message was sent before, and has offset %d", d.Offset)
}

// ErrKeyReused refuses a message whose key its sender has used for another.
var ErrKeyReused = schema.ErrBadRequest.Because("the key was used for another message")

const (
	keyWindow  = 2 * time.Minute // how long a key is remembered at least
	maxKeys    = 1 << 18         // keys remembered; about 16 MiB
	maxRetries = 64              // of one message while it is under way
)

// keys remembers what the senders' idempotency keys were used for.
//
// Keys that are done with are in two generations, a young one that is written
// and an old one that is only read. When the young one is two minutes old, or
// full, it becomes the old one and the old one is gone: no timer, no list by
// age, and nothing in the maps that the collector would have to follow.
// Beyond the bound keys are forgotten early. Then, and after a restart, the
// store still settles it: it hides the second of two messages with one key.
//
// (Rejected: to ask the store for each key. The usual key is new, so that is a
// look-up in a large table for every message, for the sake of the rare one.)
type keys struct {
	now func() time.Time // immutable

	mu         sync.Mutex
	underWay   map[keyID]*send // as many as the log takes messages
	young, old map[keyID]sent
	since      time.Time // when young began
}

// keyID is a room, a sender and a key, hashed: strings of any length would
// have to be kept otherwise.
type keyID = [16]byte

// sent is a message that is durable.
type sent struct {
	offset  uint64
	payload uint64 // hash of what was sent
}

// send is a message under way, and the done of its retries.
type send struct {
	payload uint64
	retries []func(error)
}

func newKeys(now func() time.Time) *keys {
	return &keys{now: now, underWay: make(map[keyID]*send), young: make(map[keyID]sent), since: now()}
}

// publish submits a message with a key, unless it was sent before. Its own
// done is called before those of its retries.
func (k *keys) publish(m *schema.Message, done func(error), submit func(*schema.Message, func(error)) error) error {
	id, payload := Identify(m)
	offset, fresh, err := k.begin(id, payload, done)
	switch {
	case err != nil:
		return err
	case offset > 0:
		done(Duplicate{offset})
		return nil
	case !fresh:
		return nil
	}
	err = submit(m, func(err error) {
		retries := k.end(id, m.Offset, err)
		done(err)
		if err == nil {
			err = Duplicate{m.Offset}
		}
		for _, retry := range retries {
			retry(err)
		}
	})
	if err != nil {
		for _, retry := range k.end(id, 0, err) {
			retry(err)
		}
	}
	return err
}

// begin reports what is known of a key: the offset of the message that is
// durable, or that there is none and this one is the first. If neither, that
// message is under way, and done will be called with it.
func (k *keys) begin(id keyID, payload uint64, done func(error)) (offset uint64, fresh bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.age()
	if s := k.underWay[id]; s != nil {
		switch {
		case s.payload != payload:
			return 0, false, ErrKeyReused
		case len(s.retries) >= maxRetries:
			return 0, false, ErrOverloaded
		}
		s.retries = append(s.retries, done)
		return 0, false, nil
	}
	was, ok := k.young[id]
	if !ok {
		was, ok = k.old[id]
	}
	if !ok {
		k.underWay[id] = &send{payload: payload}
		return 0, true, nil
	}
	if was.payload != payload {
		return 0, false, ErrKeyReused
	}
	return was.offset, false, nil
}

// end takes a message off those under way, and remembers it if it is durable.
func (k *keys) end(id keyID, offset uint64, err error) (retries []func(error)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.underWay[id]
	delete(k.underWay, id)
	if err == nil {
		k.age()
		if k.young == nil {
			k.young = make(map[keyID]sent)
		}
		k.young[id] = sent{offset, s.payload}
	}
	return s.retries
}

// age begins a new generation when it is time. Called with mu held.
func (k *keys) age() {
	now := k.now()
	switch age := now.Sub(k.since); {
	case age >= 2*keyWindow:
		k.young, k.old, k.since = nil, nil, now
	case age >= keyWindow, len(k.young) >= maxKeys/2:
		k.young, k.old, k.since = nil, k.young, now
	}
}

// Identify hashes what a key belongs to, and what was sent with it.
func Identify(m *schema.Message) (id [16]byte, payload uint64) {
	b := make([]byte, 0, 256)
	for _, s := range []string{m.Room, m.User, m.Key} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	sum := sha256.Sum256(b)
	copy(id[:], sum[:])
	sum = sha256.Sum256(m.Data)
	return id, binary.LittleEndian.Uint64(sum[:])
}
