package auth

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// A token that is refused is refused with a reason, which a close frame has
// room for and which holds nothing of the token.
func TestRefusals(t *testing.T) {
	p := pairs()
	set := jwkSet(rsaJWK("one", &p.rsa.PublicKey), rsaJWK("two", &p.rsa2.PublicKey), ecJWK(t, "ec", &p.ec.PublicKey))
	keys := keysOf(t, KeysConfig{Specs: []KeySpec{"hs256:" + secret}, JWKS: file(t, "set.json", set)})
	v := NewVerifier(VerifierConfig{Keys: keys, Issuer: "app", Audience: "chat"})
	const payload = `{"sub":"alice","iss":"app","aud":"chat"}`
	for _, test := range []struct {
		name, token string
		want        Refusal
	}{
		{"longer than 8 KiB", hs(t, `{"x":"`+strings.Repeat("a", MaxToken)+`"}`), tooLong},
		{"no JWT", "secret-of-somebody", malformed},
		{"no kid, two keys", forge(t, jwt.SigningMethodRS256, p.rsa, `{"alg":"RS256"}`, payload), manyKeys},
		{"unknown kid", forge(t, jwt.SigningMethodRS256, p.rsa, `{"alg":"RS256","kid":"three"}`, payload), unknownKid},
		{"another key's kid", forge(t, jwt.SigningMethodRS256, p.rsa2, `{"alg":"RS256","kid":"one"}`, payload), badSignature},
		{"no key of its alg", forge(t, jwt.SigningMethodEdDSA, p.ed, `{"alg":"EdDSA"}`, payload), noKey},
		{"an alg that is not taken", forge(t, jwt.SigningMethodHS512, []byte(secret), `{"alg":"HS512"}`, payload), wrongAlg},
		{"an alg that nobody has", forge(t, jwt.SigningMethodHS256, []byte(secret), `{"alg":"XS256"}`, payload), wrongAlg},
		{"another alg than its key's", forge(t, jwt.SigningMethodHS256, []byte(secret), `{"alg":"HS256","kid":"one"}`, payload), wrongAlg},
		{"kid is a number", forge(t, jwt.SigningMethodHS256, []byte(secret), `{"alg":"HS256","kid":1}`, payload), badKid},
		{"crit", forge(t, jwt.SigningMethodHS256, []byte(secret), `{"alg":"HS256","crit":["x"]}`, payload), badHeader},
		{"a bad claim", hs(t, `{"exp":"soon"}`), badClaim + "exp"},
		{"issuer", hs(t, `{"aud":"chat"}`), wrongIssuer},
		{"audience", hs(t, `{"iss":"app"}`), wrongAudience},
		{"not yet", hs(t, `{"iss":"app","aud":"chat","nbf":4000000000}`), notYet},
		{"a subscription token", hs(t, `{"iss":"app","aud":"chat","channel":"a"}`), notConnect},
	} {
		_, err := v.Connect(test.token, noon)
		if got := Reason(err); got != string(test.want) || !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %q (%v), want %q", test.name, got, err, test.want)
		}
		if len("invalid token: ")+len(test.want) > 123 {
			t.Errorf("%s: the reason does not fit a close frame", test.name)
		}
	}
	if _, err := v.Subscribe(hs(t, `{"iss":"app","aud":"chat"}`), noon); Reason(err) != string(notSubscribe) {
		t.Errorf("a connection token to subscribe with: %v", err)
	}
	none := NewVerifier(VerifierConfig{Keys: keysOf(t, KeysConfig{})})
	if _, err := none.Connect(hs(t, `{}`), noon); Reason(err) != string(NoTokens) {
		t.Errorf("a token where none are taken: %v", err)
	}
}

// The log hears of each reason once in a while, and of none that are no fault.
func TestRefusalLog(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	v := NewVerifier(VerifierConfig{Keys: keysOf(t, KeysConfig{Specs: []KeySpec{"hs256:" + secret}}), Log: zap.New(core)})
	long, expired := strings.Repeat("a", MaxToken+1), hs(t, `{"exp":1}`)
	for i := range 100 {
		at := noon.Add(time.Duration(i) * time.Millisecond)
		_, _ = v.Connect(long, at)
		_, _ = v.Subscribe("x", at)
		_, _ = v.Connect(expired, at)
	}
	_, _ = v.Connect(long, noon.Add(refusalEvery))
	var got []string
	for _, e := range logs.All() {
		reason, _ := e.ContextMap()["reason"].(string)
		got = append(got, reason)
		if strings.Contains(reason, "aaaa") {
			t.Errorf("the log quotes the token: %s", reason)
		}
	}
	if want := []string{string(tooLong), string(malformed), string(tooLong)}; strings.Join(got, "|") != strings.Join(want, "|") {
		t.Fatalf("logged %q, want %q", got, want)
	}
	if n := logs.All()[2].ContextMap()["tokens"]; n != int64(100) {
		t.Errorf("the last line counts %v tokens, want the 100 since the first", n)
	}
}
