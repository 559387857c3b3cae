package fanout

// Client is what others may know of a member's client.
type Client struct {
	ID   string
	User string // empty for a guest, who is a user of its own
	Info []byte // one JSON value, or nil
}

// Present is a Peer that others may know of.
type Present interface {
	Peer
	// Client is called on the member's loop.
	Client() Client
}
