package auth

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hubbub-chat/hubbub/schema"
)

// Action is what one may do in a channel; several are or-ed together.
type Action uint8

// The actions, with the names they have in tokens.
const (
	Subscribe Action = 1 << iota // sub
	Publish                      // pub
	History                      // hst: history, and recovery
	Presence                     // prs: presence, and joins and leaves
)

// maxPatterns is how many channel names the caps of a token may hold in all:
// every publish walks through them.
const maxPatterns = 128

// Caps is the caps claim: a list of objects
//
//	{"channels": ["news", "user:*"], "match": "wildcard", "allow": ["sub", "hst"]}
//
// As in Centrifugo the first object with a matching channel decides, and what
// it does not allow the objects behind it do not either. Without match the
// names are exact. With "wildcard" a * at the end stands for everything that
// is left, nothing included; a * before that must be a whole segment between
// two of ":" and "/", and stands for one segment that is not empty:
//
//	user:*        user:1, user:1:inbox, user:      not users
//	user:*:inbox  user:1:inbox                     not user:1:2:inbox, user::inbox
//	news*         news, newsroom, news:today
//	*             every channel
//
// A token with a pattern or match of another form is invalid: to leave the
// object out would let one behind it decide. Actions that are not known allow
// nothing. Immutable; nil allows nothing.
type Caps struct {
	patterns []pattern
}

// pattern is one channel of one object.
type pattern struct {
	text     string
	wildcard bool
	allow    Action
}

// Allows reports whether all of action is allowed in the channel. It knows
// nothing of kinds of channels: whether caps can open a direct-message room is
// for the caller to say.
func (c *Caps) Allows(channel string, action Action) bool {
	if c == nil {
		return false
	}
	for i := range c.patterns {
		p := &c.patterns[i]
		if p.text == channel && !p.wildcard || p.wildcard && matchWildcard(p.text, channel) {
			return p.allow&action == action
		}
	}
	return false
}

// matchWildcard walks through both once: a * never has a choice.
func matchWildcard(pattern, channel string) bool {
	for {
		star := strings.IndexByte(pattern, '*')
		if star < 0 {
			return pattern == channel
		}
		if !strings.HasPrefix(channel, pattern[:star]) {
			return false
		}
		pattern, channel = pattern[star+1:], channel[star:]
		if pattern == "" {
			return true
		}
		segment := strings.IndexAny(channel, ":/")
		if segment <= 0 {
			return false
		}
		channel = channel[segment:]
	}
}

var errPattern = errors.New("a * in caps is neither at the end nor a segment")

// checkWildcard reports whether every * of a pattern stands where one may.
func checkWildcard(pattern string) error {
	for i := range len(pattern) - 1 { // the last byte may be one
		if pattern[i] != '*' {
			continue
		}
		if i > 0 && !isSeparator(pattern[i-1]) || !isSeparator(pattern[i+1]) {
			return errPattern
		}
	}
	return nil
}

func isSeparator(c byte) bool { return c == ':' || c == '/' }

// parseCaps reads the claim.
func parseCaps(value []byte) (*Caps, error) {
	c := &Caps{}
	err := schema.EachItem(value, func(object []byte) error {
		names, match, allow, err := parseGrant(object)
		if err != nil {
			return err
		}
		if len(c.patterns)+len(names) > maxPatterns {
			return fmt.Errorf("caps have more than %d channels", maxPatterns)
		}
		wildcard := match == "wildcard"
		if !wildcard && match != "" {
			return errors.New("a match of caps is not supported")
		}
		for _, name := range names {
			p := pattern{text: name, allow: allow}
			if wildcard && strings.Contains(name, "*") {
				if p.wildcard = true; checkWildcard(name) != nil {
					return errPattern
				}
			}
			c.patterns = append(c.patterns, p)
		}
		return nil
	})
	if err != nil || len(c.patterns) == 0 {
		return nil, err
	}
	return c, nil
}

// parseGrant reads one object of the claim.
func parseGrant(object []byte) (names []string, match string, allow Action, err error) {
	var seen seen
	err = schema.EachField(object, func(name, value []byte) (err error) {
		switch string(name) {
		case "channels":
			if err = seen.once(1); err == nil {
				names, err = parseChannels(value, maxPatterns)
			}
		case "match":
			if err = seen.once(2); err == nil {
				match, err = schema.Unquote(value)
			}
		case "allow":
			if err = seen.once(4); err == nil {
				allow, err = parseActions(value)
			}
		}
		return err
	})
	if err != nil {
		return nil, "", 0, fmt.Errorf("caps: %w", err)
	}
	return names, match, allow, nil
}

// parseActions reads a list of names of actions. Those not known are left out.
func parseActions(value []byte) (Action, error) {
	var all Action
	err := schema.EachItem(value, func(item []byte) error {
		name, err := schema.Unquote(item)
		switch name {
		case "sub":
			all |= Subscribe
		case "pub":
			all |= Publish
		case "hst":
			all |= History
		case "prs":
			all |= Presence
		}
		return err
	})
	return all, err
}

// parseChannels reads a list of names of channels, each kept once.
func parseChannels(value []byte, limit int) ([]string, error) {
	var names []string
	err := schema.EachItem(value, func(item []byte) error {
		name, err := schema.Unquote(item)
		if err != nil {
			return err
		}
		if err := schema.CheckChannel(name); err != nil {
			return err
		}
		for _, n := range names {
			if n == name {
				return nil
			}
		}
		if len(names) == limit {
			return fmt.Errorf("more than %d channels", limit)
		}
		names = append(names, name)
		return nil
	})
	return names, err
}
