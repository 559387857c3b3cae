package auth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/schema"
)

// MaxToken is the longest token that is looked at, in bytes.
const MaxToken = 8 << 10

// Leeway is how far the clock of a token's signer may be ahead of ours: nbf is
// checked with it. exp is checked without: it costs its bearer one refresh, and
// live sessions have a grace time of their own.
const Leeway = 10 * time.Second

// VerifierConfig says what a token must be besides genuine.
type VerifierConfig struct {
	Keys     *Keys       // never nil
	Issuer   string      // iss must be this; empty: anything
	Audience string      // aud must be or hold this; empty: anything
	Log      *zap.Logger // is told, now and then, why tokens are refused; nil: silent
}

// Verifier tells genuine tokens from others. It is immutable, never blocks and
// may be used from any number of goroutines.
//
// A connection token must not have a channel claim and a subscription token
// must have one: both are signed with the same keys, and neither may be used in
// the other's place. A token of either kind may be without sub: it is an
// anonymous user's.
type Verifier struct {
	cfg    VerifierConfig
	log    *refusalLog
	parser *jwt.Parser
	find   jwt.Keyfunc
}

// NewVerifier makes a verifier of the keys, which the caller closes.
func NewVerifier(cfg VerifierConfig) *Verifier {
	v := &Verifier{cfg: cfg, log: newRefusalLog(cfg.Log)}
	v.find = v.findKey // bound once, not once a call
	v.parser = jwt.NewParser(
		jwt.WithValidMethods(algorithms),
		jwt.WithStrictDecoding(),
		// The library takes the time from a function and folds "expired" and
		// everything else into one error; check does it instead.
		jwt.WithoutClaimsValidation(),
	)
	return v
}

// Connect verifies a connection token. Errors are ErrExpired, ErrUnavailable,
// or wrap ErrInvalid.
func (v *Verifier) Connect(token string, now time.Time) (Claims, error) {
	var p payload
	err := v.genuine(token, &p)
	if err == nil && p.seen&seenChannel != 0 {
		err = notConnect
	}
	if err == nil {
		err = v.check(&p, now)
	}
	if err != nil {
		v.log.note(err, now)
		return Claims{}, err
	}
	return Claims{
		User: p.user, Info: p.info, Channels: p.channels, Caps: p.caps,
		Expires: p.expires, Moderator: p.moderator,
	}, nil
}

// Subscribe verifies a subscription token. Errors are as those of Connect.
// Whether user and channel are the right ones is for the caller to compare.
func (v *Verifier) Subscribe(token string, now time.Time) (SubClaims, error) {
	var p payload
	err := v.genuine(token, &p)
	if err == nil && p.channel == "" {
		err = notSubscribe
	}
	if err == nil {
		err = v.check(&p, now)
	}
	if err != nil {
		v.log.note(err, now)
		return SubClaims{}, err
	}
	return SubClaims{
		User: p.user, Channel: p.channel, Info: p.info, Expires: p.expires, Allow: p.allow | Subscribe,
	}, nil
}

// genuine fills in the payload of a token that one of our keys has signed.
func (v *Verifier) genuine(token string, p *payload) error {
	if v.cfg.Keys.Empty() {
		return NoTokens
	}
	if len(token) > MaxToken {
		return tooLong
	}
	for i := range len(token) {
		// encoding/base64 skips newlines, so there would be more than one
		// spelling of a signature.
		if token[i] == '\r' || token[i] == '\n' {
			return malformed
		}
	}
	if t, err := v.parser.ParseWithClaims(token, p, v.find); err != nil {
		if errors.Is(err, ErrUnavailable) {
			return ErrUnavailable
		}
		return fmt.Errorf("%w: %w", refusal(t, err), err)
	}
	if !p.read {
		return malformed
	}
	return nil
}

// findKey is called by the parser between its decoding and its verifying.
func (v *Verifier) findKey(t *jwt.Token) (any, error) {
	if err := checkHeader(t.Raw); err != nil {
		return nil, badHeader
	}
	id, ok := t.Header["kid"].(string)
	if !ok && t.Header["kid"] != nil {
		return nil, badKid
	}
	return v.cfg.Keys.find(id, t.Method.Alg())
}

// checkHeader refuses what the parser overlooks: crit, of which we understand
// no extension (RFC 7515, 4.1.11), and names that are there twice.
func checkHeader(token string) error {
	header, _, _ := strings.Cut(token, ".")
	var buf [256]byte // of nearly every header; it stays on the stack
	data, err := base64.RawURLEncoding.AppendDecode(buf[:0], []byte(header))
	if err != nil {
		return err
	}
	var seen seen
	return schema.EachField(data, func(name, _ []byte) error {
		switch string(name) {
		case "crit":
			return errors.New("its crit is not understood")
		case "alg":
			return seen.once(1)
		case "kid":
			return seen.once(2)
		}
		return nil
	})
}

// check looks at what a genuine token says. The expiry comes last: ErrExpired
// promises that another token of the same kind would be good.
func (v *Verifier) check(p *payload, now time.Time) error {
	switch {
	case v.cfg.Issuer != "" && p.issuer != v.cfg.Issuer:
		return wrongIssuer
	case v.cfg.Audience != "" && !slices.Contains(p.audience, v.cfg.Audience):
		return wrongAudience
	case p.seen&seenNbf != 0 && now.Add(Leeway).Unix() < p.notBefore:
		return notYet
	case p.seen&seenExp != 0 && now.Unix() >= p.expires:
		return ErrExpired
	}
	return nil
}
