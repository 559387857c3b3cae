package auth

import (
	"bytes"
	"context"
	"crypto/rsa"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// issuer is a real HTTP server with a JWK set, or with trouble.
type issuer struct {
	*httptest.Server
	answer atomic.Pointer[http.HandlerFunc]
	asked  atomic.Int64
}

func newIssuer(t *testing.T, answer http.HandlerFunc) *issuer {
	t.Helper()
	i := &issuer{}
	i.answer.Store(&answer)
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.asked.Add(1)
		(*i.answer.Load())(w, r)
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) now(answer http.HandlerFunc) { i.answer.Store(&answer) }

func serves(body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }
}

// verifier verifies with the issuer's keys, which it looks at every so often.
func (i *issuer) verifier(t *testing.T, every, spacing time.Duration) *Verifier {
	t.Helper()
	keys := keysOf(t, KeysConfig{JWKS: i.URL, Refresh: every, Spacing: spacing})
	return NewVerifier(VerifierConfig{Keys: keys})
}

func rs(t *testing.T, k *rsa.PrivateKey, kid string) string {
	t.Helper()
	return forge(t, jwt.SigningMethodRS256, k, `{"alg":"RS256","kid":"`+kid+`"}`, `{"sub":"alice"}`)
}

// errRefused stands for ErrInvalid or ErrUnavailable: which one it is hangs on
// how long ago the set was looked at.
var errRefused = errors.New("refused")

// eventually waits until verifying a token ends in want, and fails if it ends
// in anything but meanwhile before.
func eventually(t *testing.T, v *Verifier, token string, want, meanwhile error) {
	t.Helper()
	is := func(err, kind error) bool {
		return errors.Is(err, kind) || kind == errRefused && (errors.Is(err, ErrInvalid) || errors.Is(err, ErrUnavailable))
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		_, err := v.Connect(token, noon)
		if is(err, want) {
			return
		}
		if !is(err, meanwhile) {
			t.Fatalf("err = %v, want %v and %v meanwhile", err, want, meanwhile)
		}
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %v; still %v", want, err)
		}
	}
}

func TestJWKSRotation(t *testing.T) {
	p := pairs()
	i := newIssuer(t, serves(jwkSet(rsaJWK("one", &p.rsa.PublicKey))))
	v := i.verifier(t, time.Hour, time.Millisecond)
	one, two := rs(t, p.rsa, "one"), rs(t, p.rsa2, "two")
	eventually(t, v, one, nil, errRefused)

	i.now(serves(jwkSet(rsaJWK("one", &p.rsa.PublicKey), rsaJWK("two", &p.rsa2.PublicKey))))
	eventually(t, v, two, nil, errRefused)
	eventually(t, v, one, nil, nil)

	i.now(serves(jwkSet(rsaJWK("two", &p.rsa2.PublicKey))))
	_, _ = v.Connect(rs(t, p.rsa, "made up"), noon) // has the set looked at
	eventually(t, v, one, errRefused, nil)          // its key is gone
	eventually(t, v, two, nil, nil)
	if n := i.asked.Load(); n < 3 {
		t.Errorf("asked %d times", n)
	}
}

// TestJWKSKeepsKeys lets the source fail in every way there is.
func TestJWKSKeepsKeys(t *testing.T) {
	p := pairs()
	set := jwkSet(rsaJWK("one", &p.rsa.PublicKey))
	other := jwkSet(rsaJWK("two", &p.rsa2.PublicKey))
	elsewhere := newIssuer(t, serves(other))
	padded := append(bytes.Repeat([]byte(" "), maxSetSize), other...)
	many := make([]fields, maxSetKeys+1)
	for i := range many {
		many[i] = rsaJWK("two", &p.rsa2.PublicKey)
	}
	tests := []struct {
		name   string
		answer http.HandlerFunc
	}{
		{"500 with a set", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500); _, _ = w.Write(other) }},
		{"404", http.NotFound},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }},
		{"nothing", func(http.ResponseWriter, *http.Request) {}},
		{"a page", serves([]byte("<html>"))},
		{"no keys", serves([]byte("{}"))},
		{"keys is a string", serves([]byte(`{"keys":"x"}`))},
		{"an empty set", serves(jwkSet())},
		{"a set of keys that cannot be used", serves(jwkSet(rsaJWK("two", &p.weak.PublicKey), octJWK("two", secret)))},
		{"too many keys", serves(jwkSet(many...))},
		{"over 1 MiB", serves(padded)},
		{"without end", func(w http.ResponseWriter, r *http.Request) {
			for chunk := bytes.Repeat([]byte(" "), 64<<10); r.Context().Err() == nil; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}},
		{"huge headers", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("a", 1<<20))
			_, _ = w.Write(other)
		}},
		{"cut off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write(other)
		}},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			i := newIssuer(t, serves(set))
			core, logs := observer.New(zap.WarnLevel)
			keys := keysOf(t, KeysConfig{JWKS: i.URL, Refresh: time.Hour, Spacing: time.Millisecond, Log: zap.New(core)})
			v := NewVerifier(VerifierConfig{Keys: keys})
			one, two := rs(t, p.rsa, "one"), rs(t, p.rsa2, "two")
			eventually(t, v, one, nil, errRefused)
			i.now(test.answer)
			for end := time.Now().Add(20 * time.Second); logs.Len() == 0; time.Sleep(time.Millisecond) {
				if _, err := v.Connect(two, noon); !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrInvalid) {
					t.Fatalf("a key out of a bad answer: %v", err)
				}
				if time.Now().After(end) {
					t.Fatal("nothing is logged after 20 s")
				}
			}
			if _, err := v.Connect(one, noon); err != nil {
				t.Errorf("the old key is gone: %v", err)
			}
			i.now(serves(other))
			eventually(t, v, two, nil, errRefused)
			if elsewhere.asked.Load() != 0 {
				t.Error("the redirect was followed")
			}
		})
	}
}

// TestJWKSSlow has a source that does not answer: nobody waits for it, and
// Close does not either.
func TestJWKSSlow(t *testing.T) {
	i := newIssuer(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	v := i.verifier(t, time.Hour, time.Millisecond)
	for i.asked.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	for range 100 {
		if _, err := v.Connect(rs(t, pairs().rsa, "one"), noon); err != ErrUnavailable {
			t.Fatalf("err = %v", err)
		}
	}
	if v.cfg.Keys.Ready() {
		t.Error("ready without keys")
	}
	closed := make(chan struct{})
	go func() { v.cfg.Keys.Close(); close(closed) }() // ends with Close
	select {
	case <-closed:
	case <-time.After(fetchTimeout / 2):
		t.Fatal("Close waits for the source")
	}
}

func TestJWKSDownAtStart(t *testing.T) {
	i := newIssuer(t, http.NotFound)
	keys := keysOf(t, KeysConfig{JWKS: i.URL, Spacing: time.Millisecond, Specs: []KeySpec{"hs256:" + secret}})
	v := NewVerifier(VerifierConfig{Keys: keys})
	one := rs(t, pairs().rsa, "one")
	eventually(t, v, one, ErrUnavailable, nil)
	if _, err := v.Connect(hs(t, `{"sub":"alice"}`), noon); err != nil {
		t.Errorf("the key of the settings: %v", err)
	}
	i.now(serves(jwkSet(rsaJWK("one", &pairs().rsa.PublicKey))))
	eventually(t, v, one, nil, errRefused)
	if !keys.Ready() {
		t.Error("not ready")
	}
}

func TestJWKSFile(t *testing.T) {
	p := pairs()
	path := file(t, "set.json", jwkSet(rsaJWK("one", &p.rsa.PublicKey), rsaJWK("one", &p.rsa2.PublicKey), octJWK("oct", secret)))
	keysOf(t, KeysConfig{JWKS: "FILE:" + path})
	keysOf(t, KeysConfig{JWKS: "HTTPS://example.invalid/jwks"}) // asked later
	keys := keysOf(t, KeysConfig{JWKS: "file:" + path, Refresh: time.Millisecond})
	v := NewVerifier(VerifierConfig{Keys: keys})
	if _, err := v.Connect(rs(t, p.rsa, "one"), noon); err != nil {
		t.Errorf("the first of two keys with one kid: %v", err)
	}
	if _, err := v.Connect(rs(t, p.rsa2, "one"), noon); !errors.Is(err, ErrInvalid) {
		t.Errorf("the second: %v", err)
	}
	if err := os.WriteFile(path, jwkSet(rsaJWK("two", &p.rsa2.PublicKey)), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, v, rs(t, p.rsa2, "two"), nil, errRefused)

	for _, bad := range []string{
		path + ".none", "http://example.com/jwks", "https://", "http://user:pa55word@example.com/jwks", "HTTP://user:pa55word@example.com/jwks", "ftp://x",
		file(t, "x", []byte("{}")), "https://a b/", "http://10.0.0.1/",
	} {
		if _, err := NewKeys(KeysConfig{JWKS: bad}); !errors.Is(err, ErrKey) || strings.Contains(err.Error(), "pa55word") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// sourced are keys that come from a function, for the bubble of a synctest.
func sourced(read func(context.Context) ([]byte, error)) *Keys {
	k := must(NewKeys(KeysConfig{}))
	k.done = make(chan struct{})
	k.source = &source{name: "test", read: read}
	k.start()
	return k
}

// TestJWKSRate has a storm of tokens with unknown kids: the source is asked
// once in a spacing, and once in an interval without any.
func TestJWKSRate(t *testing.T) {
	p := pairs()
	set := jwkSet(rsaJWK("one", &p.rsa.PublicKey))
	storm := rs(t, p.rsa2, "made up")
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		var fail atomic.Bool
		keys := sourced(func(context.Context) ([]byte, error) {
			if asked.Add(1); fail.Load() {
				return nil, errors.New("down")
			}
			return set, nil
		})
		defer keys.Close()
		v := NewVerifier(VerifierConfig{Keys: keys})
		pass := func(d time.Duration) int64 {
			before := asked.Load()
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				if _, err := v.Connect(storm, noon); err == nil {
					t.Fatal("accepted")
				}
			}
			synctest.Wait()
			return asked.Load() - before
		}
		synctest.Wait()
		if asked.Load() != 1 || !keys.Ready() {
			t.Fatalf("asked %d times at the start", asked.Load())
		}
		if _, err := v.Connect(storm, noon); !errors.Is(err, ErrInvalid) || errors.Is(err, ErrUnavailable) {
			t.Errorf("a kid that a fresh set does not have: %v", err)
		}
		if n := pass(100 * time.Second); n < 9 || n > 11 {
			t.Errorf("asked %d times in 100 s of a storm", n)
		}
		fail.Store(true)
		if n := pass(100 * time.Second); n < 9 || n > 11 {
			t.Errorf("asked %d times in 100 s of a storm with the source down", n)
		}
		if _, err := v.Connect(storm, noon); err != ErrUnavailable {
			t.Errorf("the source is down: %v", err)
		}
		fail.Store(false)
		time.Sleep(20 * time.Second)
		before := asked.Load()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := asked.Load() - before; n != 12 {
			t.Errorf("asked %d times in an hour of peace", n)
		}
	})
}
