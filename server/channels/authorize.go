package channels

import "github.com/hubbub-chat/hubbub/schema"

// Caller is who asks.
type Caller struct {
	User       string // empty for a guest, and for a token without sub
	Server     bool   // the server API, with its key
	Subscribed bool   // to the channel
	// Grants reports whether a token gives the caller the action in the
	// channel. It may be nil.
	Grants func(channel string, a Action) bool
}

// Authorize reports whether the caller may do that in the channel: nil, or
// ErrBadRequest when it is the wrong name of a direct-message room,
// ErrUnknownChannel when the namespace does not exist, ErrNotAvailable when the
// namespace keeps no history or no presence, else ErrPermissionDenied. Whether a channel has
// ever been used makes no difference to the answer.
func (n *Namespaces) Authorize(c Caller, a Action, channel string) error {
	o, err := n.Of(channel)
	if err != nil {
		return err
	}
	if a == History && o.Ephemeral {
		return schema.ErrNotAvailable.Because("this channel keeps no history")
	}
	if a == Presence && o.Presence == Off {
		return schema.ErrNotAvailable.Because("nobody notes who is in this channel")
	}
	if c.Server {
		return nil
	}
	if err := CheckOrder(channel); err != nil {
		return err
	}
	if n.rules.Load().unguarded {
		return nil
	}
	if Direct(channel) {
		return direct(c, channel)
	}
	if c.Grants != nil && c.Grants(channel, a) {
		return nil
	}
	// A private channel is its subscribers': they were let in by a token.
	if private(channel) && !(c.Subscribed && a != Subscribe) {
		return schema.ErrPermissionDenied
	}
	if !o.who(a).includes(c) {
		return schema.ErrPermissionDenied
	}
	return nil
}

// direct decides for a direct-message room. No capability opens it.
func direct(c Caller, channel string) error {
	a, b, ok := pair(channel)
	if !ok || a == b {
		return schema.ErrBadRequest.Because("a direct-message room is named @a,b with its two users in order")
	}
	if c.User == "" || c.User != a && c.User != b {
		return schema.ErrPermissionDenied
	}
	return nil
}

func (w Who) includes(c Caller) bool {
	switch w {
	case Anyone:
		return true
	case Users:
		return c.User != ""
	case Subscribers:
		return c.Subscribed
	}
	return false
}
