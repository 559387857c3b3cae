package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/hubbub-chat/hubbub/internal/strictjson"
)

// maxSetKeys is how many keys of a JWK set are looked at. Real ones have fewer
// than ten.
const maxSetKeys = 256

// jwk is a JSON Web Key (RFC 7517) as far as it matters here. Certificates and
// URLs in it are ignored.
type jwk struct {
	Kty    string   `json:"kty"`
	Use    string   `json:"use"`
	KeyOps []string `json:"key_ops"`
	Alg    string   `json:"alg"`
	Kid    string   `json:"kid"`
	Crv    string   `json:"crv"`
	N      string   `json:"n"`
	E      string   `json:"e"`
	X      string   `json:"x"`
	Y      string   `json:"y"`
	K      string   `json:"k"`
}

// parseSet reads a JWK set. Keys of other kinds, for other uses or too weak are
// left out, as RFC 7517 asks, and the reasons returned; a set without any
// usable key is an error. Secrets are taken only where they are allowed: a set
// that was fetched is public, and whoever reads it could sign.
func parseSet(text []byte, secrets bool) (keys []*key, skipped []string, err error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(text, &set) != nil { // its error may quote the text
		return nil, nil, notJSON("not a JWK set", text)
	}
	if len(set.Keys) > maxSetKeys {
		return nil, nil, fmt.Errorf("the JWK set has %d keys, more than %d", len(set.Keys), maxSetKeys)
	}
	for i, raw := range set.Keys {
		k, err := parseJWK(raw, secrets)
		if err == nil && k.id != "" && slices.ContainsFunc(keys, func(o *key) bool { return o.id == k.id }) {
			err = errors.New("its kid is another key's too") // the first one keeps it
		}
		if err != nil {
			skipped = append(skipped, fmt.Sprintf("key %d: %v", i, err))
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, skipped, errors.New("the JWK set has no usable key")
	}
	return keys, skipped, nil
}

// notJSON says where a text is no JSON, if it is not, and nothing of what stands
// there.
func notJSON(what string, text []byte) error {
	_, err := strictjson.Parse(text)
	if at := (*strictjson.Error)(nil); errors.As(err, &at) {
		return fmt.Errorf("%s: no JSON at line %d, column %d", what, at.Line, at.Column)
	}
	return errors.New(what)
}

// parseJWK reads one key.
func parseJWK(text []byte, secrets bool) (*key, error) {
	var j jwk
	if json.Unmarshal(text, &j) != nil {
		return nil, notJSON("not a JWK", text)
	}
	if j.Use != "" && j.Use != "sig" {
		return nil, errors.New("its use is not sig")
	}
	if len(j.KeyOps) > 0 && !slices.Contains(j.KeyOps, "verify") {
		return nil, errors.New("its key_ops do not include verify")
	}
	material, err := j.material(secrets)
	if err != nil {
		return nil, err
	}
	k, err := newKey(j.Kid, material, false)
	if err != nil {
		return nil, err
	}
	if j.Alg != "" && j.Alg != k.alg {
		return nil, fmt.Errorf("its alg is not %s", k.alg)
	}
	return k, nil
}

func (j *jwk) material(secrets bool) (any, error) {
	switch {
	case j.Kty == "oct" && secrets:
		return decode64(j.K)
	case j.Kty == "oct":
		return nil, errors.New("a secret does not belong here")
	case j.Kty == "RSA":
		return j.rsa()
	case j.Kty == "EC" && j.Crv == "P-256":
		return j.ecdsa()
	case j.Kty == "OKP" && j.Crv == "Ed25519":
		x, err := decode64(j.X)
		return ed25519.PublicKey(x), err
	}
	return nil, errors.New("its kty or crv is not supported")
}

func (j *jwk) rsa() (any, error) {
	n, err := decode64(j.N)
	if err != nil {
		return nil, err
	}
	e, err := decode64(j.E)
	if err != nil {
		return nil, err
	}
	exponent := new(big.Int).SetBytes(e)
	if exponent.BitLen() > 31 {
		return nil, errors.New("its exponent is too large")
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}, nil
}

func (j *jwk) ecdsa() (any, error) {
	x, err := decode64(j.X)
	if err != nil {
		return nil, err
	}
	y, err := decode64(j.Y)
	if err != nil {
		return nil, err
	}
	if len(x) != 32 || len(y) != 32 {
		return nil, errors.New("its point is malformed")
	}
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
}

func decode64(s string) ([]byte, error) {
	if s == "" {
		return nil, errors.New("a part of it is missing")
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return nil, errors.New("a part of it is not base64url")
	}
	return b, nil
}
