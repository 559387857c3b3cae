package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/hubbub-chat/hubbub/schema"
)

// strict is a verifier with everything configured: keys of all algorithms
// without a kid (HS256, RS256, ES256, EdDSA), and named ones.
func strict(t *testing.T) *Verifier {
	t.Helper()
	p := pairs()
	set := file(t, "set.json", jwkSet(
		rsaJWK("rsa", &p.rsa.PublicKey), ecJWK(t, "ec", &p.ec.PublicKey),
		edJWK("ed", p.ed.Public().(ed25519.PublicKey)), octJWK("oct", secret2),
	))
	keys := keysOf(t, KeysConfig{JWKS: set, Specs: []KeySpec{
		"hs256:" + secret,
		KeySpec("file:" + publicPEM(t, &p.rsa2.PublicKey)),
	}})
	return NewVerifier(VerifierConfig{Keys: keys, Issuer: "app", Audience: "chat"})
}

const good = `{"sub":"alice","iss":"app","aud":"chat","exp":1772370000}` // 13:00

func TestConnectRefuses(t *testing.T) {
	p := pairs()
	v := strict(t)
	hsHeader := `{"alg":"HS256"}`
	by := func(header, payload string) string {
		return forge(t, jwt.SigningMethodHS256, []byte(secret), header, payload)
	}
	says := func(payload string) string { return by(hsHeader, payload) }
	claim := func(claims string) string {
		return says(`{"sub":"alice","iss":"app","aud":"chat","exp":1772370000,` + claims + `}`)
	}
	rsaPublic := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(&p.rsa2.PublicKey))})
	genuine := says(good)
	parts := strings.Split(genuine, ".")
	flip := func(part int) string {
		q := append([]string{}, parts...)
		b := []byte(q[part])
		b[len(b)/2] ^= 1
		q[part] = string(b)
		return strings.Join(q, ".")
	}
	long := strings.Repeat("x", MaxUser+1)

	tests := []struct {
		name  string
		token string
		want  error
	}{
		// Not a token at all.
		{"empty", "", ErrInvalid},
		{"garbage", "\x00\xff nonsense", ErrInvalid},
		{"dots", "..", ErrInvalid},
		{"two parts", parts[0] + "." + parts[1], ErrInvalid},
		{"four parts", genuine + ".x", ErrInvalid},
		{"five parts, encrypted", genuine + ".x.y", ErrInvalid},
		{"oversized", strings.Repeat("a", MaxToken+1), ErrInvalid},
		{"oversized, genuine", claim(`"x":"` + strings.Repeat("a", MaxToken) + `"`), ErrInvalid},
		{"padding", parts[0] + "." + parts[1] + "." + parts[2] + "=", ErrInvalid},
		{"newline in the signature", genuine[:len(genuine)-4] + "\n" + genuine[len(genuine)-4:], ErrInvalid},
		{"white space around", " " + genuine, ErrInvalid},
		{"header is an array", by(`["alg","HS256"]`, good), ErrInvalid},
		{"header is null", by(`null`, good), ErrInvalid},
		{"payload is an array", says(`["sub"]`), ErrInvalid},
		{"payload is null", says(`null`), ErrInvalid},
		{"payload is a string", says(`"sub"`), ErrInvalid},
		{"payload is cut off", says(good[:len(good)-1]), ErrInvalid},
		{"payload and more", says(good + "{}"), ErrInvalid},
		{"payload is not UTF-8", claim("\"x\":\"\xff\""), ErrInvalid},

		// Algorithms and keys.
		{"alg none", forge(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, `{"alg":"none"}`, good), ErrInvalid},
		{"alg None, with a signature", by(`{"alg":"None"}`, good), ErrInvalid},
		{"alg none in the header of a genuine token", base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".", ErrInvalid},
		{"no alg", by(`{}`, good), ErrInvalid},
		{"alg is a number", by(`{"alg":256}`, good), ErrInvalid},
		{"alg in capitals", by(`{"ALG":"HS256"}`, good), ErrInvalid},
		{"HS512 with the secret", forge(t, jwt.SigningMethodHS512, []byte(secret), `{"alg":"HS512"}`, good), ErrInvalid},
		{"PS256 with the RSA key", forge(t, jwt.SigningMethodPS256, p.rsa2, `{"alg":"PS256"}`, good), ErrInvalid},
		{"confusion: RSA public key in PEM as the secret", forge(t, jwt.SigningMethodHS256, rsaPublic, hsHeader, good), ErrInvalid},
		{"confusion: RSA modulus as the secret", forge(t, jwt.SigningMethodHS256, p.rsa2.N.Bytes(), hsHeader, good), ErrInvalid},
		{"confusion: HS256 by the kid of an RSA key", forge(t, jwt.SigningMethodHS256, rsaPublic, `{"alg":"HS256","kid":"rsa"}`, good), ErrInvalid},
		{"confusion: HS256 of ours by the kid of an RSA key", by(`{"alg":"HS256","kid":"rsa"}`, good), ErrInvalid},
		{"confusion: RS256 by the kid of an EC key", forge(t, jwt.SigningMethodRS256, p.rsa, `{"alg":"RS256","kid":"ec"}`, good), ErrInvalid},
		{"signed with RS256, says HS256", forge(t, jwt.SigningMethodRS256, p.rsa2, hsHeader, good), ErrInvalid},
		{"another secret", forge(t, jwt.SigningMethodHS256, []byte(secret2), hsHeader, good), ErrInvalid},
		{"another RSA key", forge(t, jwt.SigningMethodRS256, p.rsa, `{"alg":"RS256"}`, good), ErrInvalid},
		{"kid of another key", by(`{"alg":"HS256","kid":"oct"}`, good), ErrInvalid},
		{"unknown kid", forge(t, jwt.SigningMethodES256, p.ec, `{"alg":"ES256","kid":"nobody"}`, good), ErrInvalid},
		{"kid is a number", by(`{"alg":"HS256","kid":1}`, good), ErrInvalid},
		{"kid is a path", forge(t, jwt.SigningMethodES256, p.ec, `{"alg":"ES256","kid":"../../dev/null"}`, good), ErrInvalid},
		{"a key of its own", forge(t, jwt.SigningMethodES256, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), `{"alg":"ES256","jwk":{"kty":"EC"},"jku":"https://evil.example/"}`, good), ErrInvalid},
		{"crit", by(`{"alg":"HS256","crit":["exp"]}`, good), ErrInvalid},
		{"crit, unknown", by(`{"alg":"HS256","crit":["b64"],"b64":false}`, good), ErrInvalid},
		{"crit, empty", by(`{"alg":"HS256","crit":[]}`, good), ErrInvalid},
		{"crit, escaped", by(`{"alg":"HS256","cr\u0069t":["exp"]}`, good), ErrInvalid},
		{"crit twice", by(`{"alg":"HS256","crit":["exp"],"crit":null}`, good), ErrInvalid},
		{"alg twice", by(`{"alg":"none","alg":"HS256"}`, good), ErrInvalid},
		{"kid twice", by(`{"alg":"HS256","kid":"oct","kid":"x"}`, good), ErrInvalid},

		// Tampered with.
		{"header tampered with", flip(0), ErrInvalid},
		{"payload tampered with", flip(1), ErrInvalid},
		{"signature tampered with", flip(2), ErrInvalid},
		{"no signature", parts[0] + "." + parts[1] + ".", ErrInvalid},
		{"half a signature", parts[0] + "." + parts[1] + "." + parts[2][:20], ErrInvalid},
		{"another payload", parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(good, "alice", "admin", 1))) + "." + parts[2], ErrInvalid},

		// Time, issuer, audience.
		{"expired", says(strings.Replace(good, "1772370000", "1772366399", 1)), ErrExpired},
		{"expires now", says(strings.Replace(good, "1772370000", "1772366400", 1)), ErrExpired},
		{"expired with a fraction", says(strings.Replace(good, "1772370000", "1772366400.9", 1)), ErrExpired},
		{"expired in 1970", says(strings.Replace(good, "1772370000", "0", 1)), ErrExpired},
		{"expired before", says(strings.Replace(good, "1772370000", "-5", 1)), ErrExpired},
		{"expired and forged", forge(t, jwt.SigningMethodHS256, []byte(secret2), hsHeader, `{"sub":"alice","iss":"app","aud":"chat","exp":1}`), ErrInvalid},
		{"expired and another issuer's", says(`{"sub":"alice","iss":"x","aud":"chat","exp":1}`), ErrInvalid},
		{"exp is a string", says(strings.Replace(good, "1772370000", `"1772370000"`, 1)), ErrInvalid},
		{"exp is null", says(strings.Replace(good, "1772370000", "null", 1)), ErrInvalid},
		{"exp is NaN", says(strings.Replace(good, "1772370000", "NaN", 1)), ErrInvalid},
		{"exp is before all time", says(strings.Replace(good, "1772370000", "-1e999", 1)), ErrExpired},
		{"nbf in milliseconds", claim(`"nbf":1772366400000`), ErrInvalid},
		{"exp twice", claim(`"exp":1772380000`), ErrInvalid},
		{"nbf in the future", claim(`"nbf":1772366411`), ErrInvalid},
		{"nbf is an object", claim(`"nbf":{}`), ErrInvalid},
		{"another issuer", says(strings.Replace(good, "app", "ape", 1)), ErrInvalid},
		{"no issuer", says(`{"sub":"alice","aud":"chat"}`), ErrInvalid},
		{"issuer is a list", says(`{"sub":"alice","iss":["app"],"aud":"chat"}`), ErrInvalid},
		{"another audience", says(strings.Replace(good, "chat", "shop", 1)), ErrInvalid},
		{"other audiences", says(`{"sub":"alice","iss":"app","aud":["shop","chats"]}`), ErrInvalid},
		{"no audience", says(`{"sub":"alice","iss":"app"}`), ErrInvalid},
		{"audience is a number", says(`{"sub":"alice","iss":"app","aud":1}`), ErrInvalid},

		// The user.
		{"sub is a number", says(`{"sub":7,"iss":"app","aud":"chat"}`), ErrInvalid},
		{"sub twice", claim(`"sub":"admin"`), ErrInvalid},
		{"sub twice, escaped", claim(`"s\u0075b":"admin"`), ErrInvalid},
		{"sub too long", says(`{"sub":"` + long + `","iss":"app","aud":"chat"}`), ErrInvalid},
		{"newline in sub", says(`{"sub":"a\nb","iss":"app","aud":"chat"}`), ErrInvalid},
		{"NUL in sub", says(`{"sub":"a\u0000b","iss":"app","aud":"chat"}`), ErrInvalid},
		{"C1 control in sub", says("{\"sub\":\"a\u0085b\",\"iss\":\"app\",\"aud\":\"chat\"}"), ErrInvalid},
		{"sub is not UTF-8", says("{\"sub\":\"a\xffb\",\"iss\":\"app\",\"aud\":\"chat\"}"), ErrInvalid},
		{"half a surrogate in a channel", claim(`"channels":["a\udc00"]`), ErrInvalid},
		{"half a surrogate in a name of caps", claim(`"caps":[{"channels":["a\ud800"],"allow":["sub"]}]`), ErrInvalid},
		{"info of too many levels", claim(`"info":` + strings.Repeat("[", schema.MaxLevels+1) + strings.Repeat("]", schema.MaxLevels+1)), ErrInvalid},
		{"half a surrogate in sub", says(`{"sub":"a\ud800b","iss":"app","aud":"chat"}`), ErrInvalid},

		// What it may do.
		{"a subscription token", claim(`"channel":"news"`), ErrInvalid},
		{"a subscription token for null", claim(`"channel":null`), ErrInvalid},
		{"info too large", claim(`"info":"` + strings.Repeat("a", MaxInfo) + `"`), ErrInvalid},
		{"info twice", claim(`"info":1,"info":2`), ErrInvalid},
		{"channels is a string", claim(`"channels":"news"`), ErrInvalid},
		{"channels holds a number", claim(`"channels":["news",1]`), ErrInvalid},
		{"channels holds an invalid name", claim(`"channels":["a\nb"]`), ErrInvalid},
		{"channels holds an empty name", claim(`"channels":[""]`), ErrInvalid},
		{"too many channels", claim(`"channels":` + list(MaxChannels+1)), ErrInvalid},
		{"caps is an object", claim(`"caps":{}`), ErrInvalid},
		{"caps holds a string", claim(`"caps":["news"]`), ErrInvalid},
		{"caps with regex", claim(`"caps":[{"channels":["a"],"match":"regex","allow":["sub"]}]`), ErrInvalid},
		{"caps with a bad *", claim(`"caps":[{"channels":["a*b"],"match":"wildcard","allow":["sub"]}]`), ErrInvalid},
		{"caps with two matches", claim(`"caps":[{"channels":["a"],"match":"","match":"wildcard","allow":["sub"]}]`), ErrInvalid},
		{"caps with too many channels", claim(`"caps":[{"channels":` + list(100) + `},{"channels":` + list(100) + `}]`), ErrInvalid},
		{"mod is a string", claim(`"mod":"true"`), ErrInvalid},
		{"mod is a number", claim(`"mod":1`), ErrInvalid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, err := v.Connect(test.token, noon)
			if !errors.Is(err, test.want) {
				t.Fatalf("err = %v, want %v; claims %+v", err, test.want, c)
			}
			if test.want == ErrExpired && errors.Is(err, ErrInvalid) {
				t.Error("expired, and invalid as well")
			}
			if diff := cmp.Diff(Claims{}, c, cmp.AllowUnexported(Caps{}, pattern{})); diff != "" {
				t.Errorf("claims of a refused token: %s", diff)
			}
			if text := err.Error(); len(test.token) > 40 && strings.Contains(text, test.token[:20]) || strings.Contains(text, secret) {
				t.Errorf("the error quotes the token: %v", err)
			}
			if _, err := v.Subscribe(test.token, noon); err == nil && !strings.Contains(test.name, "a subscription token") {
				t.Error("Subscribe takes it")
			}
		})
	}
}

func list(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf(`"c%d"`, i)
	}
	return "[" + strings.Join(names, ",") + "]"
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestConnectAccepts(t *testing.T) {
	p := pairs()
	v := strict(t)
	tests := []struct {
		name   string
		method jwt.SigningMethod
		key    any
		header string
		claims string
		want   Claims
	}{
		{"HS256", jwt.SigningMethodHS256, []byte(secret), `{"alg":"HS256","typ":"JWT"}`, ``, Claims{}},
		{"HS256, kid that no key has", jwt.SigningMethodHS256, []byte(secret), `{"alg":"HS256","kid":"x"}`, ``, Claims{}},
		{"HS256, kid", jwt.SigningMethodHS256, []byte(secret2), `{"alg":"HS256","kid":"oct"}`, ``, Claims{}},
		{"RS256", jwt.SigningMethodRS256, p.rsa2, `{"alg":"RS256"}`, ``, Claims{}},
		{"RS256, kid", jwt.SigningMethodRS256, p.rsa, `{"alg":"RS256","kid":"rsa"}`, ``, Claims{}},
		{"ES256, kid", jwt.SigningMethodES256, p.ec, `{"alg":"ES256","kid":"ec"}`, ``, Claims{}},
		{"ES256, no kid, and one key of its algorithm has one", jwt.SigningMethodES256, p.ec, `{"alg":"ES256"}`, ``, Claims{}},
		{"EdDSA, kid", jwt.SigningMethodEdDSA, p.ed, `{"alg":"EdDSA","kid":"ed"}`, ``, Claims{}},
		{"a header with more in it", jwt.SigningMethodHS256, []byte(secret), "{ \"typ\" : \"at+jwt\" ,\n\"x\":[{}],\"\":1,\"alg\": \"HS256\" }", ``, Claims{}},
		{"nbf within the leeway", nil, nil, ``, `"nbf":1772366410,"iat":1872366410,`, Claims{}},
		{"claims nobody knows", nil, nil, ``, `"client":"x","jti":"1","x":{"sub":["}",{"exp":1}]},"EXP":1,"":0,`, Claims{}},
		{"null claims", nil, nil, ``, `"info":null,"channels":null,"caps":null,"mod":null,"allow":null,`, Claims{}},
		{"info", nil, nil, ``, `"info":{"name":"Alice \"A\" \u00e9", "n":[1,2]},`, Claims{Info: []byte(`{"name":"Alice \"A\" \u00e9", "n":[1,2]}`)}},
		{"info with newlines", nil, nil, ``, "\"info\": [1,\r\n \"a\\nb\"]\n,", Claims{Info: []byte(`[1,"a\nb"]`)}},
		{"U+FFFD in a name", nil, nil, ``, `"channels":["a\ufffd"],`, Claims{Channels: []string{"a\ufffd"}}},
		{"info is a number", nil, nil, ``, `"info":-1.5e3,`, Claims{Info: []byte(`-1.5e3`)}},
		{"channels", nil, nil, ``, `"channels":["news","$private","@alice,bob","news"],`, Claims{Channels: []string{"news", "$private", "@alice,bob"}}},
		{"moderator", nil, nil, ``, `"mod":true,`, Claims{Moderator: true}},
		{"caps", nil, nil, ``, `"caps":[{"channels":["a:*","b"],"match":"wildcard","allow":["sub","hst","dance"]},{"channels":["*"],"allow":["prs","pub"]}],`,
			Claims{Caps: &Caps{patterns: []pattern{
				{"a:*", true, Subscribe | History}, {"b", false, Subscribe | History}, {"*", false, Presence | Publish},
			}}}},
		{"escaped names", nil, nil, ``, `"\u0069nfo":"\u0061","ch\u0061nnels":["\u00e9"],`, Claims{Info: []byte(`"\u0061"`), Channels: []string{"é"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.method == nil {
				test.method, test.key, test.header = jwt.SigningMethodHS256, []byte(secret), `{"alg":"HS256"}`
			}
			test.want.User, test.want.Expires = "alice", 1772370000
			token := forge(t, test.method, test.key, test.header, "{"+test.claims+good[1:])
			got, err := v.Connect(token, noon)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(Caps{}, pattern{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConnectWithoutUser(t *testing.T) {
	keys := keysOf(t, KeysConfig{Specs: []KeySpec{"hs256:" + secret}})
	v := NewVerifier(VerifierConfig{Keys: keys})
	for _, payload := range []string{`{}`, `{"sub":""}`, `{"SUB":"alice"}`, `{"sub":null,"iss":"whoever","aud":["what","ever"]}`} {
		if c, err := v.Connect(hs(t, payload), noon); err != nil || c.User != "" || c.Expires != 0 {
			t.Errorf("%s: %+v, %v", payload, c, err)
		}
	}
	if _, err := v.Connect(hs(t, `{"sub":7}`), noon); !errors.Is(err, ErrInvalid) {
		t.Errorf("a number: %v", err)
	}
}

func TestSubscribe(t *testing.T) {
	v := verifier(t, "hs256:"+secret)
	tests := []struct {
		name    string
		payload string
		want    SubClaims
		err     error
	}{
		{"plain", `{"sub":"alice","channel":"$a"}`, SubClaims{User: "alice", Channel: "$a", Allow: Subscribe}, nil},
		{"all of it", `{"sub":"alice","channel":"$a","client":"c-1","exp":1772370000,"info":{"x":1},"allow":["pub","hst","prs"]}`,
			SubClaims{User: "alice", Channel: "$a", Info: []byte(`{"x":1}`), Expires: 1772370000, Allow: Subscribe | Publish | History | Presence}, nil},
		{"allow of nothing", `{"sub":"alice","channel":"$a","allow":[]}`, SubClaims{User: "alice", Channel: "$a", Allow: Subscribe}, nil},
		{"expired", `{"sub":"alice","channel":"$a","exp":1772366400}`, SubClaims{}, ErrExpired},
		{"a connection token", `{"sub":"alice"}`, SubClaims{}, ErrInvalid},
		{"an expired connection token", `{"sub":"alice","exp":1}`, SubClaims{}, ErrInvalid},
		{"empty channel", `{"sub":"alice","channel":""}`, SubClaims{}, ErrInvalid},
		{"null channel", `{"sub":"alice","channel":null}`, SubClaims{}, ErrInvalid},
		{"channel is a list", `{"sub":"alice","channel":["$a"]}`, SubClaims{}, ErrInvalid},
		{"channel twice", `{"sub":"alice","channel":"$a","channel":"$b"}`, SubClaims{}, ErrInvalid},
		{"channel with a newline", `{"sub":"alice","channel":"a\nb"}`, SubClaims{}, ErrInvalid},
		{"no sub", `{"channel":"$a"}`, SubClaims{Channel: "$a", Allow: Subscribe}, nil},
		{"allow is a string", `{"sub":"alice","channel":"$a","allow":"pub"}`, SubClaims{}, ErrInvalid},
		{"allow holds a number", `{"sub":"alice","channel":"$a","allow":[1]}`, SubClaims{}, ErrInvalid},
		{"not yet", `{"sub":"alice","channel":"$a","nbf":1772366500}`, SubClaims{}, ErrInvalid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := v.Subscribe(hs(t, test.payload), noon)
			if !errors.Is(err, test.err) {
				t.Fatalf("err = %v, want %v", err, test.err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestRotationOfSecrets has two secrets at a time, as one does while old
// tokens run out.
func TestRotationOfSecrets(t *testing.T) {
	third := "a third secret of at least thirty-two bytes"
	v := verifier(t, "hs256:"+secret, "hs256:"+secret2, KeySpec("hs256-file:"+file(t, "s", []byte(third+"\n"))))
	for _, s := range []string{secret, secret2, third} {
		token := forge(t, jwt.SigningMethodHS256, []byte(s), `{"alg":"HS256"}`, `{"sub":"alice"}`)
		if _, err := v.Connect(token, noon); err != nil {
			t.Errorf("%.5s: %v", s, err)
		}
	}
	token := forge(t, jwt.SigningMethodHS256, []byte(third+"\n"), `{"alg":"HS256"}`, `{"sub":"alice"}`)
	if _, err := v.Connect(token, noon); !errors.Is(err, ErrInvalid) {
		t.Errorf("the newline is part of the secret: %v", err)
	}
}

// TestForeignTokens takes the token of RFC 7515, A.1, which another program
// has signed.
func TestForeignTokens(t *testing.T) {
	const token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	jwk := `{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}`
	keys := keysOf(t, KeysConfig{JWKS: file(t, "set.json", []byte(`{"keys":[`+jwk+`]}`))})
	v := NewVerifier(VerifierConfig{Keys: keys, Issuer: "joe"})
	c, err := v.Connect(token, time.Unix(1300819379, 0))
	if err != nil || c.Expires != 1300819380 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := v.Connect(token, time.Unix(1300819380, 0)); err != ErrExpired {
		t.Errorf("a second later: %v", err)
	}
}

// TestExpiryFarAhead has signers that count milliseconds, and those that say
// "always" with the largest number they have.
func TestExpiryFarAhead(t *testing.T) {
	v := verifier(t, "hs256:"+secret)
	for exp, want := range map[string]int64{
		"1772370000000":       1772370000000, // milliseconds
		"1772370000.75":       1772370000,
		"6067333696":          6067333696, // 2^32 s ahead
		"9223372036854775807": maxTime,
		"9223372036854775808": maxTime,
		"1e300":               maxTime,
		"1e999":               maxTime,
	} {
		if c, err := v.Connect(hs(t, `{"sub":"alice","exp":`+exp+`}`), noon); err != nil || c.Expires != want {
			t.Errorf("exp %s: %d, %v", exp, c.Expires, err)
		}
		if c, err := v.Subscribe(hs(t, `{"sub":"alice","channel":"a","exp":`+exp+`}`), noon); err != nil || c.Expires != want {
			t.Errorf("exp %s of a subscription: %d, %v", exp, c.Expires, err)
		}
	}
}
