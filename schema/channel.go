package schema

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxChannelLen is the longest channel name in bytes. It is also the width of
// the room column in every store, so a valid name always fits.
const MaxChannelLen = 255

// CheckChannel reports whether name may name a channel: 1 to MaxChannelLen
// bytes of valid UTF-8 without control characters, and no white space at
// either end (SQL collations disagree about trailing blanks). The error is
// ErrBadRequest with the reason in its message.
func CheckChannel(name string) error {
	switch {
	case name == "":
		return ErrBadRequest.Because("channel is empty")
	case len(name) > MaxChannelLen:
		return ErrBadRequest.Because("channel name is longer than 255 bytes")
	case !utf8.ValidString(name):
		return ErrBadRequest.Because("channel name is not Unicode")
	case strings.ContainsFunc(name, unicode.IsControl):
		return ErrBadRequest.Because("channel name has a control character")
	case strings.TrimSpace(name) != name:
		return ErrBadRequest.Because("channel name begins or ends with white space")
	}
	return nil
}
