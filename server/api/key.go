package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Key is what a back end shows to be let in. It does not print: not with fmt,
// not in JSON.
type Key string

const redacted = "[api key]"

func (Key) String() string               { return redacted }
func (Key) GoString() string             { return redacted }
func (Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

const (
	minKey = 16   // bytes: with fewer, guessing is a plan
	maxKey = 1024 // bytes: the headers of a request are bounded
)

// CheckKeys reports the first key that cannot be used, without printing it.
func CheckKeys(keys []Key) error {
	for i, k := range keys {
		if err := k.check(); err != nil {
			return fmt.Errorf("key %d %w", i+1, err)
		}
	}
	return nil
}

func (k Key) check() error {
	switch {
	case len(k) < minKey:
		return fmt.Errorf("has %d bytes, at least %d are needed", len(k), minKey)
	case len(k) > maxKey:
		return fmt.Errorf("has %d bytes, at most %d are allowed", len(k), maxKey)
	case strings.ContainsFunc(string(k), func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("has a character that no header carries: visible ASCII alone does")
	}
	return nil
}

// keyring is the hashes of all keys. Hashes are compared, because they have
// one length: the time a comparison takes then tells nothing, not even that.
type keyring [][sha256.Size]byte

func newKeyring(keys []Key) keyring {
	var ring keyring
	for _, k := range keys {
		ring = append(ring, sha256.Sum256([]byte(k)))
	}
	return ring
}

// admits reports whether a request shows one of the keys.
func (ring keyring) admits(r *http.Request) bool {
	sum := sha256.Sum256([]byte(shown(r.Header)))
	found := 0
	for i := range ring {
		found |= subtle.ConstantTimeCompare(ring[i][:], sum[:])
	}
	return found == 1
}

// shown is the key of a request. It is not looked for in the query, which ends
// up in the logs of proxies.
func shown(h http.Header) string {
	if key := h.Get("X-API-Key"); key != "" {
		return key
	}
	scheme, key, _ := strings.Cut(h.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "apikey") {
		return ""
	}
	return strings.TrimSpace(key)
}
