package auth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"
)

// Signer signs tokens. A server has no use for one: it is for `hubbub token`
// and for tests. Immutable.
type Signer struct {
	kid      string
	method   jwt.SigningMethod
	material any
}

// Token is what a token to be signed says. The zero value of a field leaves
// its claim out.
type Token struct {
	User      string          `json:"sub,omitempty"`
	Expires   int64           `json:"exp,omitempty"` // Unix seconds
	Issuer    string          `json:"iss,omitempty"`
	Audience  string          `json:"aud,omitempty"`
	Info      json.RawMessage `json:"info,omitempty"`
	Channel   string          `json:"channel,omitempty"` // makes it a subscription token
	Channels  []string        `json:"channels,omitempty"`
	Caps      json.RawMessage `json:"caps,omitempty"`
	Allow     []string        `json:"allow,omitempty"`
	Moderator bool            `json:"mod,omitempty"`
}

// NewSigner reads the key of a spec as Keys do, with the private key where a
// KeySpec has the public one. kid, if not empty, is put into the header.
// Errors wrap ErrKey.
func NewSigner(spec KeySpec, kid string, weakSecrets bool) (*Signer, error) {
	s, err := newSigner(spec, weakSecrets)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	s.kid = kid
	return s, nil
}

func newSigner(spec KeySpec, weakSecrets bool) (*Signer, error) {
	secret, path, err := readSpec(spec)
	if err != nil {
		return nil, err
	}
	if secret != nil {
		if _, err := newKey("", secret, weakSecrets); err != nil {
			return nil, err
		}
		return &Signer{method: jwt.SigningMethodHS256, material: secret}, nil
	}
	text, err := readFile(path, maxKeyFile)
	if err != nil {
		return nil, err
	}
	private, err := parsePrivate(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	public, err := newKey("", private.Public(), false)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &Signer{method: jwt.GetSigningMethod(public.alg), material: private}, nil
}

// parsePrivate reads a PEM file as OpenSSL writes it.
func parsePrivate(text []byte) (crypto.Signer, error) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil, errors.New("no private key in PEM")
		}
		var parsed any
		var err error
		switch block.Type {
		case "EC PARAMETERS":
			text = rest // `openssl ecparam -genkey` puts it first
			continue
		case "PRIVATE KEY":
			parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			parsed, err = x509.ParseECPrivateKey(block.Bytes)
		case "PUBLIC KEY", "RSA PUBLIC KEY":
			return nil, errors.New("a public key; signing needs the private one")
		default:
			return nil, errors.New("the PEM block is not a private key without a password")
		}
		if err != nil {
			return nil, errors.New("the private key is malformed")
		}
		switch k := parsed.(type) {
		case *rsa.PrivateKey:
			return k, nil
		case *ecdsa.PrivateKey:
			return k, nil
		case ed25519.PrivateKey:
			return k, nil
		}
		return nil, errors.New("a private key that signs none of RS256, ES256, EdDSA")
	}
}

// Sign returns the signed token. What no Verifier would take is an error that
// wraps ErrInvalid and says why.
func (s *Signer) Sign(t Token) (string, error) {
	said, err := json.Marshal(t)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	var p payload
	if err := p.UnmarshalJSON(said); err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	token := jwt.NewWithClaims(s.method, signed{said: said})
	if s.kid != "" {
		token.Header["kid"] = s.kid
	}
	text, err := token.SignedString(s.material)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	if len(text) > MaxToken {
		return "", fmt.Errorf("%w: longer than %d bytes", ErrInvalid, MaxToken)
	}
	return text, nil
}

// signed gives the library claims that are JSON already.
type signed struct {
	jwt.MapClaims // nil: for its methods alone
	said          []byte
}

func (s signed) MarshalJSON() ([]byte, error) { return bytes.Clone(s.said), nil }
