package check

import "fmt"

// Kept is what was found of the acknowledged messages in a place that should
// have them: a server's history, or its database.
type Kept struct {
	Rooms    int      `json:"rooms"`
	Messages uint64   `json:"messages"`   // that were there
	Acked    uint64   `json:"acked"`      // that were looked for
	Missing  uint64   `json:"missing"`    // of those
	Other    uint64   `json:"other"`      // another message under an acknowledged offset, or a foreign one
	Twice    uint64   `json:"duplicated"` // a message under two offsets
	Order    uint64   `json:"reordered"`  // offsets that do not rise
	Errors   []string `json:"errors,omitempty"`
}

const maxErrors = 5

// Add adds what was found of one room.
func (k *Kept) Add(o *Kept, room string, err error) {
	k.Rooms += o.Rooms
	k.Messages += o.Messages
	k.Acked += o.Acked
	k.Missing += o.Missing
	k.Other += o.Other
	k.Twice += o.Twice
	k.Order += o.Order
	if err != nil && len(k.Errors) < maxErrors {
		k.Errors = append(k.Errors, fmt.Sprintf("%s: %v", room, err))
	}
}

// Faults are what is wrong with it, where place says where that is.
func (k *Kept) Faults(place string) (f []string) {
	bad := func(n uint64, what string) {
		if n > 0 {
			f = append(f, fmt.Sprintf("%d %s in %s", n, what, place))
		}
	}
	if k.Acked == 0 && len(k.Errors) == 0 {
		f = append(f, place+": nothing was acknowledged that could be looked for")
	}
	bad(k.Missing, "acknowledged messages missing")
	bad(k.Other, "messages that nobody should find")
	bad(k.Twice, "messages twice")
	bad(k.Order, "messages out of order")
	for _, e := range k.Errors {
		f = append(f, place+": "+e)
	}
	return f
}

// Line is all of it for people.
func (k *Kept) Line() string {
	return fmt.Sprintf("%d messages of %d rooms; of %d acknowledged missing %d, other %d, duplicated %d, reordered %d",
		k.Messages, k.Rooms, k.Acked, k.Missing, k.Other, k.Twice, k.Order)
}
