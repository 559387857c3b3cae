// Package auth verifies the tokens that clients bring: JSON Web Tokens that
// an application signed to say who somebody is and what they may do.
//
// Nouns: Keys is the set of keys that tokens are verified with; each key has
// one algorithm, so a token cannot choose how it is verified. Verifier turns a
// token into Claims (of a connection) or SubClaims (of a subscription). Caps
// is what a token lets its bearer do in which channels. Signer makes tokens,
// for trying and for tests.
//
// Goroutines: one for Keys that have a JWKS source, ended by Keys.Close.
// Everything else runs on its caller and never blocks: verifying reads
// memory only, so it may be done on an event loop. A key that is not there yet
// is fetched behind the caller's back, see ErrUnavailable.
//
// Caveats. A token that verifies is believed until its exp; taking it back is
// the business of those who hold the session. An error is one of three
// sentinels; what is invalid has a Refusal, which a client and a log may be
// told. The rest of an error's text is for debugging, and holds nothing of the
// token but its names of algorithms. A secret is taken byte for byte: what looks
// like base64 is not decoded.
package auth

import "errors"

// What Connect and Subscribe return. Every other error of theirs wraps
// ErrInvalid.
var (
	// ErrInvalid: the token is not one of ours, or says what it must not.
	ErrInvalid = errors.New("token is invalid")
	// ErrExpired: the token is genuine and nothing but its time is wrong. The
	// client should fetch another one.
	ErrExpired = errors.New("token is expired")
	// ErrUnavailable: the token names a key that is being fetched; the same
	// token may be good in a moment. To a client it is a temporary error: if
	// it were ErrInvalid, every client that meets a node between a rotation
	// and the node's next look at the key set would stay away for ever.
	ErrUnavailable = errors.New("token key is being fetched")
)

// ErrKey is wrapped by every error about the settings of keys. Its text is one
// line and holds no secret.
var ErrKey = errors.New("token key")
