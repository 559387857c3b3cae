package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"flag"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/hubbub-chat/hubbub/internal/leaks"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.fuzz"); f != nil && f.Value.String() != "" {
		os.Exit(m.Run()) // the fuzzing engine has goroutines of its own
	}
	leaks.Main(m)
}

const (
	secret  = "0123456789abcdef0123456789abcdef"
	secret2 = "another secret, of thirty-two bytes and more"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// pairs are key pairs made once: RSA takes its time.
var pairs = sync.OnceValue(func() (p struct {
	rsa, rsa2, weak *rsa.PrivateKey
	ec, p384        *ecdsa.PrivateKey
	ed              ed25519.PrivateKey
}) {
	p.rsa, _ = rsa.GenerateKey(rand.Reader, 2048)
	p.rsa2, _ = rsa.GenerateKey(rand.Reader, 2048)
	p.weak, _ = rsa.GenerateKey(rand.Reader, 1024)
	p.ec, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p.p384, _ = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, p.ed, _ = ed25519.GenerateKey(rand.Reader)
	return p
})

// forge signs any header and payload, well-formed or not.
func forge(tb testing.TB, method jwt.SigningMethod, material any, header, payload string) string {
	tb.Helper()
	b64 := base64.RawURLEncoding
	body := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(payload))
	signature, err := method.Sign(body, material)
	if err != nil {
		tb.Fatal(err)
	}
	return body + "." + b64.EncodeToString(signature)
}

// hs forges with the secret and an ordinary header.
func hs(tb testing.TB, payload string) string {
	tb.Helper()
	return forge(tb, jwt.SigningMethodHS256, []byte(secret), `{"alg":"HS256","typ":"JWT"}`, payload)
}

// file writes a file of the test and returns its path.
func file(tb testing.TB, name string, content []byte) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func pemFile(tb testing.TB, kind string, der []byte, err error) string {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
	return file(tb, "key.pem", pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func publicPEM(tb testing.TB, key any) string {
	tb.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	return pemFile(tb, "PUBLIC KEY", der, err)
}

func privatePEM(tb testing.TB, key any) string {
	tb.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pemFile(tb, "PRIVATE KEY", der, err)
}

// fields is a JWK to be.
type fields map[string]any

func (f fields) with(name string, value any) fields {
	g := fields{name: value}
	for n, v := range f {
		if n != name {
			g[n] = v
		}
	}
	return g
}

func rsaJWK(kid string, k *rsa.PublicKey) fields {
	return fields{"kty": "RSA", "kid": kid, "n": encode64(k.N.Bytes()), "e": encode64(big.NewInt(int64(k.E)).Bytes())}
}

func ecJWK(tb testing.TB, kid string, k *ecdsa.PublicKey) fields {
	tb.Helper()
	point, err := k.Bytes()
	if err != nil {
		tb.Fatal(err)
	}
	return fields{"kty": "EC", "crv": "P-256", "kid": kid, "x": encode64(point[1:33]), "y": encode64(point[33:])}
}

func edJWK(kid string, k ed25519.PublicKey) fields {
	return fields{"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": encode64(k)}
}

func octJWK(kid, secret string) fields {
	return fields{"kty": "oct", "kid": kid, "k": encode64([]byte(secret))}
}

func encode64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func jwkSet(keys ...fields) []byte {
	if keys == nil {
		keys = []fields{}
	}
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	return text
}

// keysOf makes keys that end with the test.
func keysOf(tb testing.TB, cfg KeysConfig) *Keys {
	tb.Helper()
	k, err := NewKeys(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(k.Close)
	return k
}

// verifier verifies with keys of these specs.
func verifier(tb testing.TB, specs ...KeySpec) *Verifier {
	tb.Helper()
	return NewVerifier(VerifierConfig{Keys: keysOf(tb, KeysConfig{Specs: specs})})
}
