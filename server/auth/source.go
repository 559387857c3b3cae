package auth

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	fromfile "github.com/hubbub-chat/hubbub/internal/secret"
)

const (
	maxSetSize   = 1 << 20          // bytes of a JWK set
	fetchTimeout = 10 * time.Second // from the dial to the last byte
)

// source is where a JWK set comes from. It is a setting of the node: nothing a
// token says can change it.
type source struct {
	name    string // for logs, without a password
	secrets bool   // the set may hold secrets: it is a file of ours
	read    func(context.Context) ([]byte, error)
}

// newSource understands a URL, or the path of a file with or without file: in
// front. http is for loopback alone: whoever can change the answer can sign
// tokens.
func newSource(where string) (*source, error) {
	scheme, _, _ := strings.Cut(where, "://")
	if !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		path, ok := fromfile.Path(where)
		if !ok {
			path = where
		}
		return &source{name: path, secrets: true, read: func(context.Context) ([]byte, error) {
			return readFile(path, maxSetSize)
		}}, nil
	}
	u, err := url.Parse(where)
	if err != nil || u.Hostname() == "" {
		return nil, errors.New("the JWKS URL is malformed") // the URL may hold a password
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("the JWKS URL %s is http; keys come by https, or from loopback", u.Redacted())
	}
	client := &http.Client{
		Timeout: fetchTimeout,
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:      true,
			DisableKeepAlives:      true, // minutes pass between two requests
			DisableCompression:     true,
			MaxResponseHeaderBytes: 64 << 10,
		},
		// An answer from elsewhere is not what was configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &source{name: u.Redacted(), read: func(ctx context.Context) ([]byte, error) {
		return fetch(ctx, client, where)
	}}, nil
}

// SourceName is where a JWK set comes from, for a log: without a password.
func SourceName(where string) string {
	if where == "" {
		return ""
	}
	src, err := newSource(where)
	if err != nil {
		return ""
	}
	return src.name
}

func fetch(ctx context.Context, client *http.Client, where string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s", resp.Status)
	}
	return readCapped(resp.Body, maxSetSize)
}
