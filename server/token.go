package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hubbub-chat/hubbub/server/auth"
)

// tokenCmd prints a signed token, for trying. An application signs its own
// with any JWT library.
type tokenCmd struct {
	User          string        `required:"" placeholder:"NAME" help:"Whose token it is (sub)."`
	TTL           time.Duration `name:"ttl" default:"1h" placeholder:"TIME" help:"How long it is valid; 0 stands for always."`
	Info          string        `placeholder:"JSON" help:"What others see of the user: any JSON value (info)."`
	Channels      []string      `placeholder:"NAME" help:"Channels that the server subscribes the user to (channels)."`
	Caps          string        `placeholder:"JSON" help:"What the user may do where (caps), such as '[{\"channels\":[\"news:*\"],\"match\":\"wildcard\",\"allow\":[\"sub\",\"hst\"]}]'."`
	Moderator     bool          `help:"The user is a moderator (mod)."`
	Channel       string        `placeholder:"NAME" help:"Make a subscription token, for this channel."`
	Allow         []string      `placeholder:"ACTION" help:"What a subscription token allows beside subscribing: pub, hst, prs."`
	TokenKey      auth.KeySpec  `placeholder:"KEY" help:"What it is signed with: hs256:SECRET, hs256-file:PATH, or file:PATH with a private key in PEM (RSA, P-256 or Ed25519)."`
	TokenKid      string        `placeholder:"KID" help:"Name of the key in a JWK set (kid)."`
	TokenIssuer   string        `placeholder:"NAME" help:"Who signs it (iss)."`
	TokenAudience string        `placeholder:"NAME" help:"Whom it is for (aud)."`
	Insecure      bool          `help:"Sign with a secret under 32 bytes, too. For trying only."`
}

// Run implements the token command.
func (c *tokenCmd) Run() error {
	token, err := c.sign(time.Now())
	if err != nil {
		return err
	}
	_, err = fmt.Println(token)
	return err
}

func (c *tokenCmd) sign(now time.Time) (string, error) {
	if err := c.Validate(); err != nil {
		return "", usageError{err}
	}
	signer, err := auth.NewSigner(c.TokenKey, c.TokenKid, c.Insecure)
	if err != nil {
		return "", usageError{fmt.Errorf("--token-key: %w", err)}
	}
	t := auth.Token{
		User: c.User, Issuer: c.TokenIssuer, Audience: c.TokenAudience,
		Info: json.RawMessage(c.Info), Caps: json.RawMessage(c.Caps),
		Channel: c.Channel, Channels: c.Channels, Allow: c.Allow, Moderator: c.Moderator,
	}
	if c.TTL > 0 {
		t.Expires = now.Add(c.TTL).Unix()
	}
	token, err := signer.Sign(t)
	if errors.Is(err, auth.ErrInvalid) {
		return "", usageError{err}
	}
	return token, err
}

// Validate reports the first value that cannot be meant. What the token says
// is checked by the signer, as the server would.
func (c *tokenCmd) Validate() error {
	switch {
	case c.TokenKey == "":
		return errors.New("--token-key is needed: what is the token to be signed with?")
	case strings.TrimSpace(c.User) == "":
		return errors.New("--user is empty")
	case c.TTL != 0 && c.TTL < time.Second:
		return fmt.Errorf("--ttl %v is neither 0 nor at least 1s", c.TTL)
	case c.Info != "" && !json.Valid([]byte(c.Info)):
		return errors.New("--info is not JSON")
	case c.Caps != "" && !json.Valid([]byte(c.Caps)):
		return errors.New("--caps is not JSON")
	case c.Channel != "" && (len(c.Channels) > 0 || c.Caps != "" || c.Moderator):
		return errors.New("--channels, --caps and --moderator have no meaning in a subscription token (--channel)")
	case c.Channel == "" && len(c.Allow) > 0:
		return errors.New("--allow is for subscription tokens (--channel)")
	}
	for _, action := range c.Allow {
		if action != "sub" && action != "pub" && action != "hst" && action != "prs" {
			return fmt.Errorf("--allow %q is not one of sub, pub, hst, prs", action)
		}
	}
	return nil
}
