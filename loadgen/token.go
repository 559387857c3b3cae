package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"time"
)

// tokens makes the JWTs that clients connect with: HS256, for user-N.
type tokens struct {
	secret []byte
	ttl    time.Duration
}

// jwtHead is {"alg":"HS256","typ":"JWT"}.
const jwtHead = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."

// append appends a client's token.
func (t *tokens) append(b []byte, user uint32, now int64) []byte {
	claims := strconv.AppendUint([]byte(`{"sub":"user-`), uint64(user), 10)
	claims = strconv.AppendInt(append(claims, `","exp":`...), (now+int64(t.ttl)+int64(time.Second)-1)/int64(time.Second), 10)
	claims = append(claims, '}')
	from := len(b)
	b = append(b, jwtHead...)
	b = base64.RawURLEncoding.AppendEncode(b, claims)
	mac := hmac.New(sha256.New, t.secret)
	_, _ = mac.Write(b[from:]) // never fails
	return base64.RawURLEncoding.AppendEncode(append(b, '.'), mac.Sum(nil))
}

// refreshIn plans the refresh of a token that ends in ttl seconds, as the SDKs
// do: when the ttl is over, for the server gives some grace.
func (c *client) refreshIn(expires bool, ttl uint32, now int64) {
	if expires && c.worker.fleet.tokens != nil {
		c.worker.plan(chore{at: now + int64(ttl)*int64(time.Second), client: c, what: refreshes, session: c.session})
	}
}

// refresh asks for a longer life.
func (c *client) refresh(now int64) {
	c.asked = now
	c.worker.fleet.dialect.refresh(c, now)
}
