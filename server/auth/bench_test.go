package auth

import (
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

const benchPayload = `{"sub":"alice","exp":1772370000,"iat":1772366000,"info":{"name":"Alice","avatar":"https://example.com/a.png"}}`

// BenchmarkConnect verifies what an application would sign, of each algorithm.
func BenchmarkConnect(b *testing.B) {
	p := pairs()
	public := func(k any) KeySpec { return KeySpec("file:" + publicPEM(b, k)) }
	v := verifier(b, "hs256:"+secret, public(&p.rsa.PublicKey), public(&p.ec.PublicKey), public(p.ed.Public()))
	caps := `{"sub":"alice","exp":1772370000,"channels":["news","user:alice"],"caps":[{"channels":["room:*"],"match":"wildcard","allow":["sub","pub","hst"]}]}`
	for _, bench := range []struct {
		name    string
		method  jwt.SigningMethod
		key     any
		payload string
	}{
		{"HS256", jwt.SigningMethodHS256, []byte(secret), benchPayload},
		{"HS256-caps", jwt.SigningMethodHS256, []byte(secret), caps},
		{"RS256", jwt.SigningMethodRS256, p.rsa, benchPayload},
		{"ES256", jwt.SigningMethodES256, p.ec, benchPayload},
		{"EdDSA", jwt.SigningMethodEdDSA, p.ed, benchPayload},
	} {
		token := forge(b, bench.method, bench.key, `{"alg":"`+bench.method.Alg()+`","typ":"JWT"}`, bench.payload)
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Connect(token, noon); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRefuse is what forged tokens cost.
func BenchmarkRefuse(b *testing.B) {
	v := verifier(b, "hs256:"+secret)
	forged := forge(b, jwt.SigningMethodHS256, []byte(secret2), `{"alg":"HS256"}`, benchPayload)
	for name, token := range map[string]string{"forged": forged, "oversized": string(make([]byte, 64<<10))} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Connect(token, noon); err == nil {
					b.Fatal("accepted")
				}
			}
		})
	}
}

func BenchmarkAllows(b *testing.B) {
	caps, err := parseCaps([]byte(`[{"channels":["a","b:*","user:*:inbox","room:*"],"match":"wildcard","allow":["sub","pub"]}]`))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !caps.Allows("room:lobby", Publish) {
			b.Fatal("refused")
		}
	}
}

// TestAllocations is the budget of a connect storm.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	v := verifier(t, "hs256:"+secret)
	token := hs(t, benchPayload)
	if n := testing.AllocsPerRun(100, func() { _, _ = v.Connect(token, noon) }); n > 45 {
		t.Errorf("verifying a token makes %v allocations", n)
	}
	c := Claims{Caps: must(parseCaps([]byte(`[{"channels":["user:*:x"],"match":"wildcard","allow":["sub"]}]`)))}
	if n := testing.AllocsPerRun(100, func() { c.Allows("user:1:x", Subscribe) }); n != 0 {
		t.Errorf("Allows makes %v allocations", n)
	}
}
