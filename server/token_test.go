package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/auth"
)

const testSecret = "hs256:0123456789abcdef0123456789abcdef"

// makeToken parses a command line as the program does, and signs.
func makeToken(t *testing.T, now time.Time, args ...string) (string, error) {
	t.Helper()
	var c struct {
		Token tokenCmd `cmd:""`
	}
	parser, err := kong.New(&c, kong.Name("hubbub"), kong.DefaultEnvars("HUBBUB"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(append([]string{"token"}, args...)); err != nil {
		return "", err
	}
	return c.Token.sign(now)
}

func testVerifier(t *testing.T, key auth.KeySpec) *auth.Verifier {
	t.Helper()
	keys, err := auth.NewKeys(auth.KeysConfig{Specs: []auth.KeySpec{key}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keys.Close)
	return auth.NewVerifier(auth.VerifierConfig{Keys: keys, Issuer: "app", Audience: "chat"})
}

func TestTokenConnect(t *testing.T) {
	now := time.Now()
	t.Setenv("HUBBUB_TOKEN_KEY", testSecret)
	t.Setenv("HUBBUB_TOKEN_ISSUER", "app")
	token, err := makeToken(t, now, "--user", "alice", "--ttl", "1h", "--channels", "a,b", "--info", `{"name":"Alice"}`, "--moderator",
		"--caps", `[{"channels":["room:*"],"match":"wildcard","allow":["pub"]}]`, "--token-audience", "chat")
	if err != nil {
		t.Fatal(err)
	}
	v := testVerifier(t, testSecret)
	c, err := v.Connect(token, now)
	if err != nil {
		t.Fatal(err)
	}
	if c.User != "alice" || strings.Join(c.Channels, " ") != "a b" || string(c.Info) != `{"name":"Alice"}` || !c.Moderator ||
		!c.Allows("room:1", auth.Publish) || c.Expires != now.Add(time.Hour).Unix() {
		t.Errorf("%+v", c)
	}
	if _, err := v.Connect(token, now.Add(time.Hour)); !errors.Is(err, auth.ErrExpired) {
		t.Errorf("an hour later: %v", err)
	}
}

func TestTokenSubscribe(t *testing.T) {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err1 := x509.MarshalPKCS8PrivateKey(key)
	public, err2 := x509.MarshalPKIXPublicKey(&key.PublicKey)
	for name, block := range map[string]*pem.Block{
		"private": {Type: "PRIVATE KEY", Bytes: private}, "public": {Type: "PUBLIC KEY", Bytes: public},
	} {
		err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600)
		if err := errors.Join(err, err1, err2); err != nil {
			t.Fatal(err)
		}
	}
	token, err := makeToken(t, time.Now(), "--user=alice", "--ttl=0", "--channel", "$a", "--allow=pub,hst", "--token-kid=k1",
		"--token-issuer=app", "--token-audience=chat", "--token-key", "file:"+filepath.Join(dir, "private"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := testVerifier(t, auth.KeySpec("file:"+filepath.Join(dir, "public"))).Subscribe(token, time.Now())
	if err != nil || c.User != "alice" || c.Channel != "$a" || c.Expires != 0 || c.Allow != auth.Subscribe|auth.Publish|auth.History {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestTokenRefuses(t *testing.T) {
	tests := []struct {
		args []string
		says string
	}{
		{[]string{"--token-key", testSecret}, "--user"},
		{[]string{"--token-key", testSecret, "--user", " "}, "--user is empty"},
		{[]string{"--user", "alice"}, "--token-key is needed"},
		{[]string{"--user", "alice", "--token-key", "top-secret"}, "write hs256:SECRET"},
		{[]string{"--user", "alice", "--token-key", "hs256:top-secret"}, "10 bytes"},
		{[]string{"--user", "alice", "--token-key", "file:/none"}, "no such file"},
		{[]string{"--user", "alice", "--token-key", testSecret, "--ttl", "-1s"}, "--ttl"},
		{[]string{"--user", "alice", "--token-key", testSecret, "--ttl", "soon"}, "--ttl"},
		{[]string{"--user", "alice", "--token-key", testSecret, "--info", "{"}, "--info is not JSON"},
		{[]string{"--user", "alice", "--token-key", testSecret, "--info", levels(schema.MaxLevels + 1)}, "claim info: data has more than 64 levels"},
		{[]string{"--user", "alice", "--token-key", testSecret, "--caps", "x"}, "--caps is not JSON"},
		{[]string{"--user", "alice", "--token-key", testSecret, "--caps", "{}"}, "claim caps"},
		{[]string{"--user", "alice", "--token-key", testSecret, "--channels", " "}, "claim channels"},
		{[]string{"--user", "alice", "--token-key", testSecret, "--channel", "a", "--channels", "b"}, "--channel"},
		{[]string{"--user", "alice", "--token-key", testSecret, "--allow", "pub"}, "--allow is for"},
		{[]string{"--user", "alice", "--token-key", testSecret, "--channel", "a", "--allow", "fly"}, `"fly"`},
		{[]string{"--user", "a\x00", "--token-key", testSecret}, "claim sub"},
	}
	for _, test := range tests {
		token, err := makeToken(t, time.Now(), test.args...)
		if err == nil {
			t.Errorf("%q: %s", test.args, token)
			continue
		}
		if u, p := (usageError{}), (*kong.ParseError)(nil); !errors.As(err, &u) && !errors.As(err, &p) {
			t.Errorf("%q: the exit code would be 1: %v", test.args, err)
		}
		if text := err.Error(); !strings.Contains(text, test.says) || strings.Contains(text, "top-secret") || strings.Contains(text, "\n") {
			t.Errorf("%q: %v", test.args, err)
		}
	}
	if _, err := makeToken(t, time.Now(), "--user=alice", "--token-key=hs256:short", "--insecure"); err != nil {
		t.Errorf("--insecure: %v", err)
	}
}
