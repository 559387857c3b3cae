package auth

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

func TestKeySpecs(t *testing.T) {
	p := pairs()
	jwkFile := func(f fields) KeySpec { return KeySpec("file:" + file(t, "key.jwk", must(json.Marshal(f)))) }
	pub := func(key any) KeySpec { return KeySpec("file:" + publicPEM(t, key)) }
	twice := must(os.ReadFile(publicPEM(t, &p.rsa.PublicKey)))
	pkcs1 := x509.MarshalPKCS1PublicKey(&p.rsa.PublicKey)
	ed := p.ed.Public().(ed25519.PublicKey)
	x25519 := must(ecdh.X25519().GenerateKey(rand.Reader)).PublicKey()
	edPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(ed))})
	secretFile := func(b []byte) KeySpec { return KeySpec("hs256-file:" + file(t, "secret", b)) }

	tests := []struct {
		name string
		spec KeySpec
		alg  string // empty: refused
		says string // in the error
	}{
		{"secret", "hs256:" + secret, algHS256, ""},
		{"secret with colons", "hs256:" + KeySpec(strings.Repeat("a:b,c=", 8)), algHS256, ""},
		{"secret in a file", secretFile([]byte(secret)), algHS256, ""},
		{"binary secret in a file", secretFile(make([]byte, 32)), algHS256, ""},
		{"RSA", pub(&p.rsa.PublicKey), algRS256, ""},
		{"RSA, PKCS #1", KeySpec("file:" + pemFile(t, "RSA PUBLIC KEY", pkcs1, nil)), algRS256, ""},
		{"P-256", pub(&p.ec.PublicKey), algES256, ""},
		{"Ed25519", pub(ed), algEdDSA, ""},
		{"JWK, RSA", jwkFile(rsaJWK("a", &p.rsa.PublicKey).with("alg", "RS256").with("use", "sig")), algRS256, ""},
		{"JWK, P-256", jwkFile(ecJWK(t, "a", &p.ec.PublicKey).with("key_ops", []string{"verify"})), algES256, ""},
		{"JWK, Ed25519", jwkFile(edJWK("", ed)), algEdDSA, ""},

		{"empty", "", "", "write hs256:SECRET"},
		{"a bare secret", KeySpec(secret), "", "write hs256:SECRET"},
		{"another algorithm", "hs512:" + KeySpec(secret+secret), "", "write hs256:SECRET"},
		{"capitals", "HS256:" + KeySpec(secret), "", "write hs256:SECRET"},
		{"no secret", "hs256:", "", "empty"},
		{"weak secret", "hs256:" + KeySpec(secret[1:]), "", "the secret has 31 bytes, at least 32 are needed"},
		{"weak secret in a file", secretFile([]byte(secret[1:] + "\n")), "", "31 bytes"},
		{"no file", KeySpec("file:" + filepath.Join(t.TempDir(), "none")), "", "no such file"},
		{"no file of a secret", KeySpec("hs256-file:" + filepath.Join(t.TempDir(), "none")), "", "no such file"},
		{"a directory", KeySpec("file:" + t.TempDir()), "", "is a directory"},
		{"a huge file", KeySpec("file:" + file(t, "huge", make([]byte, maxKeyFile+1))), "", "more than"},
		{"a raw secret as a key file", KeySpec("file:" + file(t, "s", []byte(secret))), "", "hs256-file:"},
		{"public PEM as a secret", secretFile(edPEM), "", "key pair"},
		{"public PEM as a literal secret", KeySpec("hs256:" + string(edPEM)), "", "key pair"},
		{"public DER as a secret", secretFile(must(x509.MarshalPKIXPublicKey(&p.rsa.PublicKey))), "", "key pair"},
		{"JWK as a secret", secretFile(must(json.Marshal(edJWK("a", ed)))), "", "key pair"},
		{"OpenSSH key as a secret", secretFile([]byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ alice@example")), "", "key pair"},
		{"private PEM", KeySpec("file:" + privatePEM(t, p.ec)), "", "private"},
		{"a certificate", KeySpec("file:" + pemFile(t, "CERTIFICATE", []byte{1}, nil)), "", "not a public key"},
		{"two keys", KeySpec("file:" + file(t, "two", append(twice, twice...))), "", "more than one"},
		{"broken PEM", KeySpec("file:" + pemFile(t, "PUBLIC KEY", []byte{1, 2, 3}, nil)), "", "asn1"},
		{"weak RSA", pub(&p.weak.PublicKey), "", "1024 bits"},
		{"P-384", pub(&p.p384.PublicKey), "", "not P-256"},
		{"X25519", pub(x25519), "", "verifies none"},
		{"JWK, weak RSA", jwkFile(rsaJWK("a", &p.weak.PublicKey)), "", "1024 bits"},
		{"JWK, alg of another key", jwkFile(rsaJWK("a", &p.rsa.PublicKey).with("alg", "HS256")), "", "alg is not RS256"},
		{"JWK, RS512", jwkFile(rsaJWK("a", &p.rsa.PublicKey).with("alg", "RS512")), "", "alg is not RS256"},
		{"JWK, for encryption", jwkFile(rsaJWK("a", &p.rsa.PublicKey).with("use", "enc")), "", "use is not sig"},
		{"JWK, to sign alone", jwkFile(rsaJWK("a", &p.rsa.PublicKey).with("key_ops", []string{"sign"})), "", "key_ops"},
		{"JWK, even exponent", jwkFile(rsaJWK("a", &p.rsa.PublicKey).with("e", "Ag")), "", "malformed"},
		{"JWK, exponent 1", jwkFile(rsaJWK("a", &p.rsa.PublicKey).with("e", "AQ")), "", "malformed"},
		{"JWK, huge exponent", jwkFile(rsaJWK("a", &p.rsa.PublicKey).with("e", "AQAAAAE")), "", "too large"},
		{"JWK, no modulus", jwkFile(rsaJWK("a", &p.rsa.PublicKey).with("n", "")), "", "missing"},
		{"JWK, a point off the curve", jwkFile(ecJWK(t, "a", &p.ec.PublicKey).with("x", encode64(make([]byte, 32)))), "", "point"},
		{"JWK, a short point", jwkFile(ecJWK(t, "a", &p.ec.PublicKey).with("x", "AAAA")), "", "malformed"},
		{"JWK, P-384", jwkFile(ecJWK(t, "a", &p.ec.PublicKey).with("crv", "P-384")), "", "not supported"},
		{"JWK, a short Ed25519", jwkFile(edJWK("a", ed[1:])), "", "malformed"},
		{"JWK, secret", jwkFile(octJWK("a", secret)), "", "does not belong"},
		{"JWK, no kty", jwkFile(fields{"kid": "a"}), "", "not supported"},
		{"JWK, broken", KeySpec("file:" + file(t, "x", []byte(`{"kty":`))), "", "not a JWK"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k, err := readKey(test.spec, false)
			if err == nil && k.alg != test.alg {
				t.Fatalf("alg %s, want %q", k.alg, test.alg)
			}
			if test.alg != "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			keys, err := NewKeys(KeysConfig{Specs: []KeySpec{"hs256:" + secret2, test.spec}})
			if !errors.Is(err, ErrKey) || keys != nil {
				t.Fatalf("NewKeys: %v", err)
			}
			text := err.Error()
			if !strings.Contains(text, test.says) {
				t.Errorf("the error does not say %q: %s", test.says, text)
			}
			if strings.Contains(text, "\n") || strings.Contains(text, secret[1:]) {
				t.Errorf("the error is more than a line, or holds the secret: %s", text)
			}
		})
	}
}

func TestWeakSecretsWhereTheyAreMeant(t *testing.T) {
	v := NewVerifier(VerifierConfig{Keys: keysOf(t, KeysConfig{Specs: []KeySpec{"hs256:x"}, WeakSecrets: true})})
	token := forge(t, jwt.SigningMethodHS256, []byte("x"), `{"alg":"HS256"}`, `{"sub":"alice"}`)
	if _, err := v.Connect(token, noon); err != nil {
		t.Error(err)
	}
	if _, err := NewKeys(KeysConfig{Specs: []KeySpec{"hs256:"}, WeakSecrets: true}); !errors.Is(err, ErrKey) {
		t.Errorf("no secret at all: %v", err)
	}
}

func TestNoKeys(t *testing.T) {
	keys := keysOf(t, KeysConfig{})
	if !keys.Empty() || !keys.Ready() {
		t.Error("no keys are not empty, or not ready")
	}
	v := NewVerifier(VerifierConfig{Keys: keys})
	if _, err := v.Connect(hs(t, `{"sub":"alice"}`), noon); !errors.Is(err, ErrInvalid) {
		t.Errorf("err = %v", err)
	}
	token := forge(t, jwt.SigningMethodHS256, []byte{}, `{"alg":"HS256","kid":""}`, `{"sub":"alice"}`)
	if _, err := v.Connect(token, noon); !errors.Is(err, ErrInvalid) {
		t.Errorf("with the empty secret: %v", err)
	}
}

func TestSpecsDoNotPrint(t *testing.T) {
	cfg := struct{ TokenKey []KeySpec }{[]KeySpec{"hs256:" + secret}}
	for _, text := range []string{
		fmt.Sprint(cfg), fmt.Sprintf("%+v", cfg), fmt.Sprintf("%#v", cfg), fmt.Sprintf("%q", cfg),
		string(must(json.Marshal(cfg))),
	} {
		if strings.Contains(text, secret) {
			t.Errorf("the secret is in %s", text)
		}
	}
}

func TestSigner(t *testing.T) {
	p := pairs()
	ec := must(x509.MarshalECPrivateKey(p.ec))
	params := "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
	sec1 := params + string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: ec}))
	tests := []struct {
		name    string
		private KeySpec
		public  KeySpec
	}{
		{"HS256", "hs256:" + secret, "hs256:" + secret},
		{"RS256", KeySpec("file:" + privatePEM(t, p.rsa)), KeySpec("file:" + publicPEM(t, &p.rsa.PublicKey))},
		{"RS256, PKCS #1", KeySpec("file:" + pemFile(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(p.rsa), nil)), KeySpec("file:" + publicPEM(t, &p.rsa.PublicKey))},
		{"ES256", KeySpec("file:" + privatePEM(t, p.ec)), KeySpec("file:" + publicPEM(t, &p.ec.PublicKey))},
		{"ES256, SEC 1", KeySpec("file:" + file(t, "ec.pem", []byte(sec1))), KeySpec("file:" + publicPEM(t, &p.ec.PublicKey))},
		{"EdDSA", KeySpec("file:" + privatePEM(t, p.ed)), KeySpec("file:" + publicPEM(t, p.ed.Public()))},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, err := NewSigner(test.private, "k1", false)
			if err != nil {
				t.Fatal(err)
			}
			token, err := s.Sign(Token{User: "<alice>", Expires: noon.Unix() + 1, Info: json.RawMessage(`{"a": 1}`), Moderator: true})
			if err != nil {
				t.Fatal(err)
			}
			c, err := verifier(t, test.public).Connect(token, noon)
			if err != nil || c.User != "<alice>" || string(c.Info) != `{"a":1}` || !c.Moderator || c.Expires != noon.Unix()+1 {
				t.Errorf("%+v, %v", c, err)
			}
		})
	}
}

func TestSignerRefuses(t *testing.T) {
	p := pairs()
	for _, spec := range []KeySpec{
		"", "secret", "hs256:short", "file:", KeySpec("file:" + publicPEM(t, &p.rsa.PublicKey)),
		KeySpec("file:" + privatePEM(t, p.weak)), KeySpec("file:" + privatePEM(t, p.p384)),
		KeySpec("file:" + file(t, "x", []byte("no PEM"))), KeySpec("file:" + pemFile(t, "PRIVATE KEY", []byte{1}, nil)),
		KeySpec("file:" + pemFile(t, "ENCRYPTED PRIVATE KEY", []byte{1}, nil)),
	} {
		if _, err := NewSigner(spec, "", false); !errors.Is(err, ErrKey) {
			t.Errorf("%.20s: %v", string(spec), err)
		}
	}
	s := must(NewSigner("hs256:"+secret, "", false))
	for _, token := range []Token{
		{User: "a\nb"}, {User: strings.Repeat("x", MaxUser+1)}, {User: "a", Channels: []string{""}},
		{User: "a", Caps: json.RawMessage(`{}`)}, {User: "a", Info: json.RawMessage(`"` + strings.Repeat("x", MaxInfo) + `"`)},
		{User: "a", Info: json.RawMessage(`{`)}, {User: "a", Channel: " "},
	} {
		if _, err := s.Sign(token); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", token, err)
		}
	}
}
