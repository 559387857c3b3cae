package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/hubbub-chat/hubbub/schema"
)

// The limits of what a token may say.
const (
	MaxUser     = 128     // bytes of sub
	MaxInfo     = 4 << 10 // bytes of info
	MaxChannels = 128     // server-side subscriptions
)

// payload is everything a token of either kind can say, as golang-jwt fills
// it in: before the signature has been looked at. It lives as long as a call.
//
// Claims that are not known are ignored, among them `client` of old
// subscription tokens. A known claim may be there once; null is taken as
// absent, except for exp and nbf: what JavaScript makes of NaN must not last for
// ever.
type payload struct {
	jwt.MapClaims // nil: for its methods alone, which nothing calls; see NewVerifier

	read      bool // UnmarshalJSON has read it; encoding/json does not call it for null
	seen      seen
	user      string
	issuer    string
	audience  []string
	channel   string
	channels  []string
	caps      *Caps
	info      []byte
	expires   int64 // Unix seconds; meant only if exp was seen
	notBefore int64
	allow     Action
	moderator bool
}

// seen is the set of the fields that were read.
type seen uint16

var errTwice = errors.New("a name is there twice")

func (s *seen) once(field seen) error {
	if *s&field != 0 {
		return errTwice
	}
	*s |= field
	return nil
}

const (
	seenSub seen = 1 << iota
	seenExp
	seenNbf
	seenIss
	seenAud
	seenInfo
	seenChannel
	seenChannels
	seenCaps
	seenAllow
	seenMod
)

// UnmarshalJSON is called by golang-jwt, through encoding/json, which has
// found data to be JSON.
func (p *payload) UnmarshalJSON(data []byte) error {
	if !utf8.Valid(data) {
		return errors.New("not UTF-8")
	}
	p.read = true
	return schema.EachField(data, p.field)
}

func (p *payload) field(name, value []byte) error {
	null := string(value) == "null"
	var err error
	switch string(name) {
	case "exp":
		if err = p.seen.once(seenExp); err == nil {
			p.expires, err = parseTime(value)
		}
	case "nbf":
		if err = p.seen.once(seenNbf); err == nil {
			p.notBefore, err = parseTime(value)
		}
	case "sub":
		if err = p.seen.once(seenSub); err == nil && !null {
			p.user, err = parseUser(value)
		}
	case "iss":
		if err = p.seen.once(seenIss); err == nil && !null {
			p.issuer, err = schema.Unquote(value)
		}
	case "aud":
		if err = p.seen.once(seenAud); err == nil && !null {
			p.audience, err = parseAudience(value)
		}
	case "info":
		if err = p.seen.once(seenInfo); err == nil && !null {
			p.info, err = parseInfo(value)
		}
	default:
		err = p.grant(name, value, null)
	}
	if err != nil {
		return &claimError{string(name), err}
	}
	return nil
}

// grant reads the claims that say what the bearer may do.
func (p *payload) grant(name, value []byte, null bool) (err error) {
	switch string(name) {
	case "channel":
		if err = p.seen.once(seenChannel); err == nil && !null {
			if p.channel, err = schema.Unquote(value); err == nil {
				err = schema.CheckChannel(p.channel)
			}
		}
	case "channels":
		if err = p.seen.once(seenChannels); err == nil && !null {
			p.channels, err = parseChannels(value, MaxChannels)
		}
	case "caps":
		if err = p.seen.once(seenCaps); err == nil && !null {
			p.caps, err = parseCaps(value)
		}
	case "allow":
		if err = p.seen.once(seenAllow); err == nil && !null {
			p.allow, err = parseActions(value)
		}
	case "mod":
		if err = p.seen.once(seenMod); err == nil && !null {
			p.moderator = string(value) == "true"
			if !p.moderator && string(value) != "false" {
				err = errors.New("neither true nor false")
			}
		}
	}
	return err
}

var errNotTime = errors.New("not a time in seconds")

// maxTime is the latest time that a token can name, in Unix seconds; a later
// one is taken for it. Both stand for never: what matters is that a signer that
// counts milliseconds, or says "always" with the largest number it has, is not
// refused, and that no sum of a time and a span overflows.
const maxTime = 1 << 53

// parseTime reads a NumericDate (RFC 7519): seconds, with a fraction or not.
// A fraction is cut off.
func parseTime(value []byte) (int64, error) {
	if len(value) == 0 || value[0] != '-' && (value[0] < '0' || value[0] > '9') {
		return 0, errNotTime
	}
	if seconds, err := strconv.ParseInt(string(value), 10, 64); err == nil {
		return max(-maxTime, min(seconds, maxTime)), nil
	}
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) { // beyond all numbers f is an infinity
		return 0, errNotTime
	}
	return int64(math.Floor(max(-maxTime, min(f, maxTime)))), nil
}

func parseUser(value []byte) (string, error) {
	user, err := schema.Unquote(value)
	switch {
	case err != nil:
		return "", err
	case len(user) > MaxUser:
		return "", fmt.Errorf("longer than %d bytes", MaxUser)
	case strings.ContainsFunc(user, unicode.IsControl):
		return "", errors.New("a control character")
	}
	return user, nil
}

// parseAudience reads one string or a list of them.
func parseAudience(value []byte) ([]string, error) {
	if value[0] == '"' {
		one, err := schema.Unquote(value)
		return []string{one}, err
	}
	var all []string
	err := schema.EachItem(value, func(item []byte) error {
		one, err := schema.Unquote(item)
		all = append(all, one)
		return err
	})
	return all, err
}

// parseInfo copies any JSON value. Newlines between its tokens go: they end a
// message on the wire.
func parseInfo(value []byte) ([]byte, error) {
	if len(value) > MaxInfo {
		return nil, fmt.Errorf("longer than %d bytes", MaxInfo)
	}
	if _, err := schema.CheckData(value); err != nil {
		return nil, err
	}
	if !bytes.ContainsAny(value, "\r\n") {
		return append(make([]byte, 0, len(value)), value...), nil
	}
	var b bytes.Buffer
	if err := json.Compact(&b, value); err != nil {
		return nil, err
	}
	return append(make([]byte, 0, b.Len()), b.Bytes()...), nil
}
