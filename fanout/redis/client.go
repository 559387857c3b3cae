package redis

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// ClientConfig is how to reach Redis.
type ClientConfig struct {
	// URL is redis://[user:password@]host:port, or rediss:// for TLS. Further
	// addresses stand in addr parameters. A cluster is recognised by itself;
	// master_set names what Sentinels watch, whose addresses the URL then has.
	URL string
	// CA is a file of PEM certificates to trust instead of the system's.
	CA string
	// Prefix begins every key and channel; default "hubbub".
	Prefix string
	// Writer says that no relay will use this: the user needs fewer rights.
	Writer bool
}

// Check reports the first setting that cannot be meant, without its secrets.
func (c *ClientConfig) Check() error {
	_, err := c.options()
	return err
}

// Where is the addresses, for a log: without user and password.
func (c *ClientConfig) Where() string {
	o, err := c.options()
	if err != nil {
		return ""
	}
	return strings.Join(o.InitAddress, ", ")
}

// Silence of this length means that a server is gone.
const silence = 2500 * time.Millisecond

func (c *ClientConfig) options() (o rueidis.ClientOption, err error) {
	if o, err = rueidis.ParseURL(c.URL); err != nil {
		return o, errors.New("not a URL like redis://user:password@host:6379") // the error has the password
	}
	if o.SelectDB != 0 {
		return o, errors.New("only database 0 has sharded Pub/Sub")
	}
	if strings.ContainsAny(c.Prefix, "{}") {
		return o, errors.New("the prefix must not have braces")
	}
	if c.CA != "" {
		if o.TLSConfig == nil {
			return o, errors.New("a CA file is for rediss:// alone")
		}
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return o, err
		}
		o.TLSConfig.RootCAs = x509.NewCertPool()
		if !o.TLSConfig.RootCAs.AppendCertsFromPEM(pem) {
			return o, fmt.Errorf("%s has no PEM certificate", c.CA)
		}
	}
	o.DisableCache = true // 128 MB a connection, and nothing here is read twice
	// A read that rueidis tries again gives its command back for reuse while the
	// broken connection's writer may still be at it (v1.0.79). All here try again
	// themselves, or say that Redis is away.
	o.DisableRetry = true
	o.ConnWriteTimeout = silence
	o.Dialer.Timeout = 2 * time.Second
	o.Dialer.KeepAlive = time.Second
	o.ClientName = "hubbub"
	o.BlockingPoolSize = 64
	o.ReadBufferEachConn, o.WriteBufferEachConn = 128<<10, 128<<10
	if o.Sentinel.MasterSet != "" {
		o.Sentinel.TopologyRefreshInterval = 5 * time.Second
		o.Sentinel.Dialer = o.Dialer
		o.Sentinel.TLSConfig = o.TLSConfig
	} else {
		o.ClusterOption.ShardsRefreshInterval = 5 * time.Second
	}
	return o, nil
}

// Client is the connection to Redis.
type Client struct {
	rueidis rueidis.Client
	options rueidis.ClientOption
	dialer  *dialer
	keys    keyspace
	writer  bool
	notes   []string // what is not as it should be, and no reason to stop
}

// Open connects and checks that this Redis will do. The error is one line
// without secrets.
func Open(ctx context.Context, cfg ClientConfig) (*Client, error) {
	options, err := cfg.options()
	if err != nil {
		return nil, err
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "hubbub"
	}
	c := &Client{options: options, dialer: newDialer(&options), keys: keyspace(cfg.Prefix), writer: cfg.Writer}
	options.DialCtxFn = c.dialer.open
	r, err := rueidis.NewClient(options)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", strings.Join(options.InitAddress, ", "), err)
	}
	c.rueidis = r
	if err := c.check(ctx); err != nil {
		r.Close()
		return nil, fmt.Errorf("%s: %w", strings.Join(options.InitAddress, ", "), err)
	}
	return c, nil
}

// Close ends all connections.
func (c *Client) Close() { c.rueidis.Close() }

// Notes are worth a line in the log.
func (c *Client) Notes() []string { return c.notes }

// Ping reports whether Redis answers.
func (c *Client) Ping(ctx context.Context) error {
	return c.rueidis.Do(ctx, c.rueidis.B().Ping().Build()).Error()
}

// check reads what the server says of itself.
func (c *Client) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := c.Ping(ctx); err != nil {
		return err
	}
	for _, node := range c.rueidis.Nodes() {
		info, err := node.Do(ctx, node.B().Info().Section("server", "memory").Build()).ToString()
		if a, _ := answerOf(err); a.right {
			c.notes = append(c.notes, "the Redis user may not read INFO: version and eviction policy were not checked")
			info, err = "", nil
		}
		if err != nil {
			return err
		}
		if info != "" {
			note, err := judge(info)
			if err != nil {
				return err
			}
			if note != "" {
				c.notes = append(c.notes, note)
			}
		}
		if err := c.rights(ctx, node); err != nil && !unready(err) {
			return err
		}
	}
	return nil
}

// unready reports whether a server refuses for now, which is no reason not to
// start: its state is in readiness, metrics and the log.
func unready(err error) bool {
	a, _ := answerOf(err)
	return a.refused && a.before
}

// judge reads INFO: a version that will not do is an error, an eviction policy
// that does harm worth a note.
func judge(info string) (note string, err error) {
	version := field(info, "redis_version")
	if major, _, _ := strings.Cut(version, "."); number(major) < 7 {
		return "", fmt.Errorf("this is Redis %s; sharded Pub/Sub needs 7 or later", version)
	}
	if policy := field(info, "maxmemory_policy"); policy != "noeviction" {
		return "Redis has maxmemory-policy " + policy + ": it may evict rooms; set noeviction", nil
	}
	return "", nil
}

// field is a line of INFO.
func field(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}
