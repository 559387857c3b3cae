package sessions

import (
	"fmt"

	"github.com/hubbub-chat/hubbub/schema"
)

// Order is something to be done to the sessions of a target, on whatever node
// they are. Nodes tell each other of it as JSON, so its names stay.
type Order struct {
	Do      Deed   `json:"do"`
	User    string `json:"user"`
	Client  string `json:"client,omitempty"`
	Channel string `json:"channel,omitempty"`
	Code    uint16 `json:"code,omitempty"` // of the close
	Reason  string `json:"reason,omitempty"`
	Until   int64  `json:"until,omitempty"` // Unix seconds, 0 for no end
}

// Deed is what an order does.
type Deed string

const (
	DoDisconnect  Deed = "disconnect" // with Code and Reason
	DoSubscribe   Deed = "subscribe"  // to Channel
	DoUnsubscribe Deed = "unsubscribe"
	DoRefresh     Deed = "refresh" // sessions expire Until
	DoBlock       Deed = "block"   // the user, Until
	DoUnblock     Deed = "unblock"
)

// Apply carries out an order on this node, and returns when it has. Never call
// it on a loop.
func (all *Sessions) Apply(o Order) error {
	t := Target{User: o.User, Client: o.Client}
	switch o.Do {
	case DoDisconnect:
		all.Disconnect(t, schema.Close{Code: o.Code, Reason: o.Reason})
	case DoSubscribe:
		return all.Subscribe(t, o.Channel)
	case DoUnsubscribe:
		all.Unsubscribe(t, o.Channel)
	case DoRefresh:
		all.Refresh(t, o.Until)
	case DoBlock:
		return all.Block(o.User, o.Until)
	case DoUnblock:
		all.Unblock(o.User)
	default:
		return fmt.Errorf("an order to %q, which a newer node has given", o.Do)
	}
	return nil
}
