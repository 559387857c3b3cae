package auth

// Claims is what a connection token says. What it refers to is the caller's
// alone; it holds nothing of the token's text.
type Claims struct {
	User      string   // sub; empty for an anonymous user
	Info      []byte   // info: one JSON value without newlines, or nil
	Channels  []string // channels: subscribed by the server, each once
	Caps      *Caps    // caps, or nil
	Expires   int64    // exp in Unix seconds; 0: never
	Moderator bool     // mod
}

// Allows reports whether the caps claim allows the action in the channel. The
// channels claim is not asked: see Channels.
func (c *Claims) Allows(channel string, action Action) bool { return c.Caps.Allows(channel, action) }

// SubClaims is what a subscription token says.
type SubClaims struct {
	User    string // sub; the caller compares it with the session's user, empty for one without
	Channel string // channel; the caller compares it with the channel asked for
	Info    []byte // info: one JSON value without newlines, or nil
	Expires int64  // exp in Unix seconds; 0: never
	Allow   Action // Subscribe, and what the allow claim names beside it
}
