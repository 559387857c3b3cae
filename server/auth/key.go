package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	fromfile "github.com/hubbub-chat/hubbub/internal/secret"
)

// The algorithms a key can have. HS384 and its kind are left out on purpose:
// every one more is one more to confuse with another.
const (
	algHS256 = "HS256"
	algRS256 = "RS256"
	algES256 = "ES256"
	algEdDSA = "EdDSA"
)

var algorithms = []string{algHS256, algRS256, algES256, algEdDSA}

const (
	minSecret  = 32       // bytes of an HMAC secret: the size of its hash (RFC 7518, 3.2)
	minRSA     = 2048     // bits (RFC 7518, 3.3)
	maxRSA     = 8192     // bits: verifying with more takes milliseconds
	maxKeyFile = 64 << 10 // bytes
)

// KeySpec says where one key is, in one of these forms:
//
//	hs256:SECRET       an HMAC secret, byte for byte, at least 32 bytes
//	hs256-file:PATH    the same out of a file, without the newline at its end
//	file:PATH          a public key, PEM or JWK: RSA (RS256), P-256 (ES256), Ed25519 (EdDSA)
//
// The algorithm of a secret is written out and never guessed from a file, so
// that a public key cannot become a secret by accident. A spec does not print:
// not with fmt, not in JSON.
type KeySpec string

const redacted = "[token key]"

func (KeySpec) String() string               { return redacted }
func (KeySpec) GoString() string             { return redacted }
func (KeySpec) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// key is what verifies, with the one algorithm it verifies. Immutable.
type key struct {
	id       string // the kid, or empty
	alg      string
	material any // []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey, as golang-jwt wants it
}

// newKey pins the algorithm that belongs to a kind of key, and refuses keys
// that are too weak for it.
func newKey(id string, material any, weakSecrets bool) (*key, error) {
	k := &key{id: id, material: material}
	switch m := material.(type) {
	case []byte:
		k.alg = algHS256
		if len(m) == 0 {
			return nil, errors.New("the secret is empty")
		}
		if len(m) < minSecret && !weakSecrets {
			return nil, fmt.Errorf("the secret has %d bytes, at least %d are needed", len(m), minSecret)
		}
	case *rsa.PublicKey:
		k.alg = algRS256
		if bits := m.N.BitLen(); bits < minRSA || bits > maxRSA {
			return nil, fmt.Errorf("the RSA key has %d bits, not between %d and %d", bits, minRSA, maxRSA)
		}
		if m.E < 3 || m.E%2 == 0 || m.E > 1<<31-1 || m.N.Bit(0) == 0 {
			return nil, errors.New("the RSA key is malformed")
		}
	case *ecdsa.PublicKey:
		k.alg = algES256
		if m.Curve != elliptic.P256() {
			return nil, errors.New("the elliptic curve is not P-256")
		}
	case ed25519.PublicKey:
		k.alg = algEdDSA
		if len(m) != ed25519.PublicKeySize {
			return nil, errors.New("the Ed25519 key is malformed")
		}
	default:
		return nil, fmt.Errorf("a key of type %T verifies none of HS256, RS256, ES256, EdDSA", material)
	}
	return k, nil
}

// readKey reads the key of a spec, to verify with.
func readKey(spec KeySpec, weakSecrets bool) (*key, error) {
	secret, path, err := readSpec(spec)
	if err != nil {
		return nil, err
	}
	if secret != nil {
		return newKey("", secret, weakSecrets)
	}
	text, err := readFile(path, maxKeyFile)
	if err != nil {
		return nil, err
	}
	k, err := parsePublic(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// readSpec returns the secret of a spec, or else the path of its key file.
func readSpec(spec KeySpec) (secret []byte, path string, err error) {
	form, value, _ := strings.Cut(string(spec), ":")
	switch form {
	case "hs256":
		secret = []byte(value)
	case "hs256-file":
		text, err := fromfile.Read(value)
		if err != nil {
			return nil, "", err
		}
		secret = []byte(text)
	case "file":
		return nil, value, nil
	default:
		return nil, "", errors.New("write hs256:SECRET, hs256-file:PATH or file:PATH (a public key, PEM or JWK)")
	}
	if published(secret) {
		return nil, "", errors.New("what is given as a secret is a key pair's key; give it as file:PATH")
	}
	return append([]byte{}, secret...), "", nil
}

// published reports whether a secret looks like a key that is usually known to
// others: everybody could sign with it.
func published(secret []byte) bool {
	_, err := x509.ParsePKIXPublicKey(secret)
	return err == nil || bytes.Contains(secret, []byte("-----BEGIN ")) || bytes.Contains(secret, []byte(`"kty"`)) ||
		bytes.HasPrefix(secret, []byte("ssh-")) || bytes.HasPrefix(secret, []byte("ecdsa-sha2-"))
}

// parsePublic reads a file that holds one public key.
func parsePublic(text []byte) (*key, error) {
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return parseJWK(text, false)
	}
	block, rest := pem.Decode(text)
	switch {
	case block == nil:
		return nil, errors.New("neither PEM nor a JWK; a file with a secret is given as hs256-file:PATH")
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, errors.New("more than one PEM block; give one file for each key")
	case strings.Contains(block.Type, "PRIVATE KEY"):
		return nil, errors.New("a private key; the server needs the public one alone")
	}
	var material any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		material, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		material, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		return nil, errors.New("the PEM block is not a public key")
	}
	if err != nil {
		return nil, err
	}
	return newKey("", material, false)
}

// readFile reads a whole file of at most max bytes.
func readFile(path string, max int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	text, err := readCapped(f, max)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return text, nil
}

// readCapped reads all of r, and fails if that is more than max bytes.
func readCapped(r io.Reader, max int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, max+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > max {
		return nil, fmt.Errorf("more than %d bytes", max)
	}
	return text, nil
}
