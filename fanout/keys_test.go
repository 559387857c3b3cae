package fanout

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/schema"
)

// sender sends with keys, and remembers what it was told.
type sender struct {
	w    *world
	told map[string][]string // by name of the attempt
}

func (s *sender) send(name string, m schema.Message) error {
	return s.w.relay.Publish(&m, func(err error) {
		var dup Duplicate
		switch {
		case errors.As(err, &dup):
			s.told[name] = append(s.told[name], fmt.Sprint("duplicate of ", dup.Offset))
		case err != nil:
			s.told[name] = append(s.told[name], err.Error())
		default:
			s.told[name] = append(s.told[name], fmt.Sprint("stored ", m.Offset))
		}
	})
}

func message(room, user, key, data string) schema.Message {
	return schema.Message{Room: room, User: user, Key: key, Data: []byte(data)}
}

func TestKeys(t *testing.T) {
	w := newWorld(t, Config{}, 1)
	now := time.UnixMilli(1_000)
	w.relay.now = func() time.Time { return now }
	w.relay.keys = newKeys(func() time.Time { return now })
	s := &sender{w, make(map[string][]string)}
	check := func(name, want string) {
		t.Helper()
		if got := s.told[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s was told %q, want %q", name, got, want)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	// While it is under way, and after.
	must(s.send("first", message("r", "u", "k", `1`)))
	must(s.send("retry under way", message("r", "u", "k", `1`)))
	if err := s.send("other payload under way", message("r", "u", "k", `2`)); !errors.Is(err, ErrKeyReused) {
		t.Errorf("another payload: %v", err)
	}
	w.commit()
	must(s.send("retry", message("r", "u", "k", `1`)))
	if err := s.send("other payload", message("r", "u", "k", `2`)); !errors.Is(err, ErrKeyReused) {
		t.Errorf("another payload: %v", err)
	}
	const offset = 1_000 << 10
	check("first", fmt.Sprint("stored ", offset))
	check("retry under way", fmt.Sprint("duplicate of ", offset))
	check("retry", fmt.Sprint("duplicate of ", offset))

	// A key is a sender's, in a room.
	must(s.send("other user", message("r", "v", "k", `3`)))
	must(s.send("other room", message("s", "u", "k", `3`)))
	must(s.send("other key", message("r", "u", "kl", `3`)))
	must(s.send("the same letters", message("r", "uk", "l", `4`)))
	w.commit()
	if got := len(w.stored["r"]); got != 4 {
		t.Errorf("%d messages are stored in r, want 4", got)
	}

	// What was not stored was not sent.
	w.fail = errors.New("disk full")
	must(s.send("failing", message("r", "u", "m", `1`)))
	must(s.send("its retry", message("r", "u", "m", `1`)))
	w.commit()
	check("failing", "disk full")
	check("its retry", "disk full")
	w.fail = nil
	must(s.send("again", message("r", "u", "m", `2`)))
	w.commit()
	check("again", fmt.Sprint("stored ", w.stored["r"][4].Offset))

	// A key is good for two minutes, and not for ever.
	now = now.Add(keyWindow)
	must(s.send("after two minutes", message("r", "u", "k", `1`)))
	check("after two minutes", fmt.Sprint("duplicate of ", offset))
	now = now.Add(keyWindow)
	must(s.send("after four", message("r", "u", "k", `1`)))
	w.commit()
	check("after four", fmt.Sprint("stored ", uint64(now.UnixMilli())<<10))
	if n := len(w.relay.keys.underWay); n != 0 {
		t.Errorf("%d messages are still under way", n)
	}
}

// What the log refuses is not under way, and its key is free.
func TestKeysRefused(t *testing.T) {
	k := newKeys(time.Now)
	full := errors.New("full")
	m := message("r", "u", "k", `1`)
	var retried error
	err := k.publish(&m, nil, func(m *schema.Message, _ func(error)) error {
		if err := k.publish(m, func(err error) { retried = err }, nil); err != nil {
			t.Errorf("the retry: %v", err)
		}
		return full
	})
	if !errors.Is(err, full) || !errors.Is(retried, full) || len(k.underWay) != 0 {
		t.Errorf("%v; the retry was told %v; %d under way", err, retried, len(k.underWay))
	}
}

// Neither many keys nor many retries of one cost more than their bound.
func TestKeysBounded(t *testing.T) {
	k := newKeys(time.Now)
	var offset uint64
	for i := range maxKeys + 1_000 {
		m := message("r", "u", fmt.Sprint(i), `1`)
		err := k.publish(&m, func(error) {}, func(m *schema.Message, done func(error)) error {
			offset++
			m.Offset = offset
			done(nil)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := len(k.young) + len(k.old); n > maxKeys || n < maxKeys/2 {
		t.Errorf("%d keys are remembered, want %d at most", n, maxKeys)
	}

	never := func(*schema.Message, func(error)) error { return nil }
	for i := range maxRetries + 2 {
		m := message("r", "u", "slow", `1`)
		err := k.publish(&m, func(error) {}, never)
		if refused := i > maxRetries; errors.Is(err, ErrOverloaded) != refused {
			t.Errorf("attempt %d: %v", i, err)
		}
	}
}
