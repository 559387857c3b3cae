package redis

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/internal/backends"
)

// userRules are what a Redis user of Hubbub's needs, as docs/redis.md says.
func userRules(t *testing.T) []string {
	text, err := os.ReadFile("../../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rules, ok := strings.CutPrefix(strings.TrimSpace(line), "ACL SETUSER hubbub "); ok {
			return strings.Fields(strings.ReplaceAll(rules, "hubbub:", "test:"))
		}
	}
	t.Fatal("docs/redis.md has no ACL SETUSER line")
	return nil
}

// Over TLS, as a user that may do no more than the documentation says.
func TestTLSAndACL(t *testing.T) {
	dir := t.TempDir()
	certificate, key := writeCertificate(t, dir)
	port := fmt.Sprint(backends.Port(t))
	redis := backends.OwnRedis(t, "--tls-port", port, "--tls-cert-file", certificate, "--tls-key-file", key,
		"--tls-ca-cert-file", certificate, "--tls-auth-clients", "no")
	redis.Do(append([]string{"ACL", "SETUSER", "hubbub"}, userRules(t)...)...)
	redis.Do("ACL", "SETUSER", "default", "off")
	url := "rediss://hubbub:PASSWORD@127.0.0.1:" + port
	if _, err := Open(context.Background(), ClientConfig{URL: url}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that nobody knows: %v", err)
	}
	w := newWorld(t, url)
	w.ca = certificate
	a, b := w.node(), w.node()
	l := b.listen("lobby")
	if err := a.publish(message("lobby", `"hello"`)); err != nil {
		t.Fatal(err)
	}
	w.eventually("it is there", func() bool { return slices.Equal(l.data(), []string{`"hello"`}) })
	if h, err := NewHistory(b.relay).Before(context.Background(), "lobby", 0, 10, 1<<20); err != nil || len(h) != 1 {
		t.Errorf("history: %d, %v", len(h), err)
	}
	w.eventually("Redis hears of the confirmation", func() bool {
		s, err := a.relay.standing("lobby", "", 0)
		return err == nil && len(s.marks) == 0
	})
	syncs := b.relay.Stats().Syncs
	w.eventually("there is a sweep", func() bool { return b.relay.Stats().Syncs > syncs })
	if s := b.relay.Stats(); s.Resets > 0 {
		t.Errorf("%+v", s)
	}
}

func writeCertificate(t *testing.T, dir string) (certificate, key string) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{
		certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}
