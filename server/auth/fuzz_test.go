package auth

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/hubbub-chat/hubbub/schema"
)

// FuzzConnect gives the verifier any token, and then a genuine one with any
// header and payload: behind the signature nothing may be believed either.
func FuzzConnect(f *testing.F) {
	const header = `{"alg":"HS256"}`
	for _, payload := range []string{
		`{"sub":"alice","exp":4102444800,"info":{"name":"A"},"channels":["a","$b"],"mod":true}`,
		`{"sub":"\u0061\ud83d\ude00","nbf":1.5e3,"aud":["x","y"],"iss":"z","info":[[],{},"}\"",null]}`,
		`{"sub":"a","caps":[{"channels":["a:*","*"],"match":"wildcard","allow":["sub","pub"]}]}`,
		`{"sub":"a","channel":"c","allow":["hst","prs"],"info":null,"exp":null}`,
		"{ \"sub\" :\n\"a\" , \"info\" : [ 1 ,\r\n2 ] }", `{}`, `null`, `[]`, `{"":{}}`, `{"sub":"\ud800"}`,
	} {
		f.Add(hs(f, payload), header, payload)
	}
	f.Add("..", `{"alg":"HS256","crit":[],"kid":"x"}`, `{"sub":"a","sub":"b"}`)
	keys := must(NewKeys(KeysConfig{Specs: []KeySpec{"hs256:" + secret}}))
	v := NewVerifier(VerifierConfig{Keys: keys})
	f.Fuzz(func(t *testing.T, token, header, payload string) {
		_, _ = v.Connect(token, noon)
		_, _ = v.Subscribe(token, noon)
		token = forge(t, jwt.SigningMethodHS256, []byte(secret), header, payload)
		if c, err := v.Connect(token, noon); err == nil {
			checkClaims(t, c, payload)
		} else if !errors.Is(err, ErrInvalid) && err != ErrExpired {
			t.Errorf("err = %v", err)
		}
		if s, err := v.Subscribe(token, noon); err == nil {
			if schema.CheckChannel(s.Channel) != nil || s.Allow&Subscribe == 0 {
				t.Errorf("%+v", s)
			}
			if _, err := v.Connect(token, noon); err == nil {
				t.Error("a token of both kinds")
			}
		}
	})
}

// float is a number as encoding/json read it.
func float(v any) float64 {
	f, _ := v.(json.Number).Float64() // out of range it is infinite, which is as good
	return f
}

// checkClaims holds accepted claims against what encoding/json reads.
func checkClaims(t *testing.T, c Claims, payload string) {
	if strings.TrimSpace(payload) == "null" {
		t.Error("claims of nothing")
	}
	var said map[string]any
	d := json.NewDecoder(strings.NewReader(payload))
	d.UseNumber() // JSON has numbers that are no float64: 1e999 in a claim that nobody reads
	if err := d.Decode(&said); err != nil {
		t.Fatalf("accepted what is not JSON: %v", err)
	}
	if sub, _ := said["sub"].(string); c.User != sub || said["sub"] != nil && said["sub"] != sub || len(c.User) > MaxUser || !utf8.ValidString(c.User) ||
		strings.ContainsFunc(c.User, unicode.IsControl) {
		t.Errorf("user %q of %s", c.User, payload)
	}
	if exp, ok := said["exp"]; ok && (c.Expires <= noon.Unix() || float64(c.Expires) > min(float(exp), maxTime)) {
		t.Errorf("expires %d of %v", c.Expires, exp)
	}
	if nbf, ok := said["nbf"]; ok && float(nbf) > float64(noon.Add(Leeway+time.Second).Unix()) {
		t.Errorf("accepted before %v", nbf)
	}
	if mod, _ := said["mod"].(bool); c.Moderator != mod {
		t.Errorf("moderator %v of %s", c.Moderator, payload)
	}
	if c.Info != nil && (!json.Valid(c.Info) || len(c.Info) > MaxInfo || strings.ContainsAny(string(c.Info), "\r\n")) {
		t.Errorf("info %q", c.Info)
	}
	if (c.Info != nil) != (said["info"] != nil) {
		t.Errorf("info %q of %s", c.Info, payload)
	}
	if len(c.Channels) > MaxChannels {
		t.Errorf("%d channels", len(c.Channels))
	}
	for _, name := range c.Channels {
		if err := schema.CheckChannel(name); err != nil {
			t.Errorf("channel %q: %v", name, err)
		}
	}
	c.Allows("a:b", Subscribe)
}

// FuzzJWKS reads any key set.
func FuzzJWKS(f *testing.F) {
	p := pairs()
	f.Add(jwkSet(rsaJWK("a", &p.rsa.PublicKey), ecJWK(f, "b", &p.ec.PublicKey), octJWK("c", secret)))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA"},null,1,[]]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, _, err := parseSet(text, true)
		if (err == nil) != (len(keys) > 0) {
			t.Errorf("%d keys, %v", len(keys), err)
		}
		for _, k := range keys {
			if _, err := newKey(k.id, k.material, false); err != nil {
				t.Error(err)
			}
		}
		newKeySet(nil, keys, time.Time{})
	})
}
