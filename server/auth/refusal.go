package auth

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// Refusal is why a token is invalid, in words that may be shown to whoever
// brought it and written to a log: they hold nothing of the token and nothing
// of a key. There are a few of them, so that a log can count each. It wraps
// ErrInvalid.
type Refusal string

// The refusals.
const (
	NoTokens      Refusal = "this server takes no tokens (no token key and no JWK set is configured)"
	tooLong       Refusal = "longer than 8192 bytes"
	malformed     Refusal = "not a JWT (RFC 7519)"
	badHeader     Refusal = "its header has a name twice, or a crit that is not understood"
	badKid        Refusal = "its kid is not a string"
	wrongAlg      Refusal = "its alg is not HS256, RS256, ES256 or EdDSA, or not that of its key"
	unknownKid    Refusal = "no key has its kid"
	manyKeys      Refusal = "it has no kid, and several keys of its alg do"
	noKey         Refusal = "there is no key of its alg"
	badSignature  Refusal = "its signature is not of a key that is configured"
	badClaim      Refusal = "a claim has a value it cannot have: " // and the claim's name
	wrongIssuer   Refusal = "its iss is not the one that is configured"
	wrongAudience Refusal = "its aud is not the one that is configured"
	notYet        Refusal = "not valid yet (nbf)"
	notConnect    Refusal = "a subscription token in the place of a connection token"
	notSubscribe  Refusal = "no subscription token: it has no channel"
)

func (r Refusal) Error() string { return ErrInvalid.Error() + ": " + string(r) }

// Is makes every refusal an ErrInvalid.
func (r Refusal) Is(target error) bool { return target == ErrInvalid }

// claimError is a known claim with a value that it cannot have.
type claimError struct {
	name string // one of ours, never the token's text
	err  error
}

func (e *claimError) Error() string { return "claim " + e.name + ": " + e.err.Error() }
func (e *claimError) Unwrap() error { return e.err }

// refusal finds the reason in an error of golang-jwt, which wraps those of
// findKey and of payload. t is what it parsed, or nil.
func refusal(t *jwt.Token, err error) Refusal {
	var known Refusal
	var claim *claimError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &claim):
		return badClaim + Refusal(claim.name)
	case errors.Is(err, jwt.ErrTokenUnverifiable), t != nil && t.Method != nil && !slices.Contains(algorithms, t.Method.Alg()):
		return wrongAlg // that golang-jwt does not have, or that we do not take
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return badSignature
	}
	return malformed
}

// Reason is what an error of Connect or Subscribe says in a close frame or an
// error reply: in the words of a Refusal, else empty.
func Reason(err error) string {
	var r Refusal
	if !errors.As(err, &r) {
		return ""
	}
	return string(r)
}

func init() {
	if !strings.Contains(string(tooLong), strconv.Itoa(MaxToken)) {
		panic("auth: the refusal does not name MaxToken")
	}
}
