package channels

import "fmt"

// Action is what somebody wants to do in a channel.
type Action uint8

const (
	Subscribe Action = iota
	Publish
	History  // read older messages, by page or by recovery
	Presence // see who is there
	NumActions
)

func (a Action) String() string {
	switch a {
	case Subscribe:
		return "subscribe"
	case Publish:
		return "publish"
	case History:
		return "history"
	case Presence:
		return "presence"
	}
	return fmt.Sprintf("Action(%d)", uint8(a))
}

// Who says which callers may, without a token that says more.
type Who uint8

const (
	Anyone      Who = iota // guests too
	Users                  // who has connected with a token that names a user (sub)
	Subscribers            // who is subscribed to the channel
	Nobody                 // only capabilities and the server API
	Off                    // not even those; of presence alone
)

var whoNames = [...]string{"anyone", "users", "subscribers", "nobody", "off"}

func (w Who) String() string { return whoNames[w] }

// UnmarshalText reads one of the names above.
func (w *Who) UnmarshalText(text []byte) error {
	for i, name := range whoNames {
		if name == string(text) {
			*w = Who(i)
			return nil
		}
	}
	return fmt.Errorf("%q is not one of anyone, users, subscribers, nobody, off", text)
}

// MarshalText writes the name.
func (w Who) MarshalText() ([]byte, error) { return []byte(w.String()), nil }
