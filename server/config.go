package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	fromfile "github.com/hubbub-chat/hubbub/internal/secret"
	"github.com/hubbub-chat/hubbub/netpoll"
	"github.com/hubbub-chat/hubbub/server/api"
	"github.com/hubbub-chat/hubbub/server/auth"
	"github.com/hubbub-chat/hubbub/server/channels"
	"github.com/hubbub-chat/hubbub/server/limits"
	"github.com/hubbub-chat/hubbub/sink"
)

// serveCmd is all settings of a node, flat. No flag at all gives a node that
// works.
type serveCmd struct {
	Addr          string         `default:":8000" placeholder:"HOST:PORT" help:"TCP address to listen on, for page, API and WebSocket alike. Default: ${default}."`
	Data          string         `default:"./data" placeholder:"DIR" help:"Directory of the embedded store. One process at a time. Default: ${default}."`
	Sync          sink.Sync      `default:"full" placeholder:"full|normal" help:"When a message counts as stored. full: flushed to the disk; an acknowledged message survives power loss. normal: with the kernel; it survives kill -9 of the server, but the last instants before a power loss may be gone. Commits cost less. Default: ${default}."`
	Guests        bool           `default:"true" negatable:"" help:"Let clients in that have no token; never where a token key or JWK set is given. Default: ${default}."`
	TokenKeys     []auth.KeySpec `name:"token-key" env:"HUBBUB_TOKEN_KEY" sep:"none" placeholder:"KEY" help:"Key that clients' tokens are verified with: hs256:SECRET, hs256-file:PATH, or file:PATH of a public key (PEM or JWK: RSA, P-256, Ed25519). May be given several times. With a key there are no guests."`
	JWKS          jwksSource     `name:"jwks" placeholder:"URL|FILE" help:"JWK set with further keys; a URL is looked at again every five minutes."`
	TokenIssuer   string         `placeholder:"NAME" help:"What a token's iss must be. Empty: anything."`
	TokenAudience string         `placeholder:"NAME" help:"What a token's aud must have. Empty: anything."`

	APIKeys []api.Key `name:"api-key" env:"HUBBUB_API_KEY" sep:"none" placeholder:"KEY" help:"Key that an application's back end shows to the server API, at least 16 bytes, or file:PATH of a file that has it. May be given several times. Without a key there is no API."`

	Config string `default:"" placeholder:"FILE" help:"Rules of channels by namespace, as JSON: who may subscribe, publish, read history and presence; join_leave, ephemeral, recovery, history_size, history_ttl. Read again on SIGHUP (which a terminal that is closed sends too: then the node stops, unless it was started with nohup, setsid, or as a service). Empty: every channel is open to everybody."`

	AllowedOrigins []string `placeholder:"ORIGIN" help:"Pages that may connect, as scheme://host[:port]; https://*.example.com stands for all subdomains of example.com, null for sandboxed pages and files in a browser (anybody's), * for every page. Default: those of this server's own host."`
	TrustedProxies []string `placeholder:"NETWORK" help:"Networks whose X-Forwarded-For, or PROXY header, is believed. Default: nobody's."`
	ProxyProtocol  bool     `help:"Connections from --trusted-proxies begin with a PROXY header, version 1 or 2, that names the client; without one they are closed."`
	ConnsPerIP     int      `name:"conns-per-ip" default:"2000" placeholder:"N" help:"Connections of one client address (IPv6: one /64) at once; 0: no limit. Loopback is not limited. Default: ${default}."`
	ConnsPerUser   int      `name:"conns-per-user" default:"100" placeholder:"N" help:"Connections of one user, by its token, at once on this node; those above it are closed with 3504. 0: no limit. Default: ${default}."`
	Subscriptions  int      `default:"128" placeholder:"N" help:"Channels that one connection may be subscribed to, at most 255; above it 106. Default: ${default}."`
	Batch          int      `default:"1000" placeholder:"N" help:"Commands in one frame; more end the connection with 3501. Default: ${default}."`
	MaxHandshakes  int      `default:"0" placeholder:"N" help:"Connections at once that have yet to send their first request, for which they have five seconds; above it new ones are answered 503. 0 stands for a quarter of --max-conns. Default: ${default}."`
	HandshakeRate  int      `default:"10000" placeholder:"N" help:"WebSocket handshakes a second; above it 503. 0: no limit. Default: ${default}."`
	Rate           int      `default:"1000" placeholder:"N" help:"Units a second that one connection may send, five seconds' worth at once: a frame is 1, each further KiB 1, each further command 1, a publish 4 more. Publishes above it are refused with 111, other frames end the connection with 3013. 0: no limit. Default: ${default}."`
	Compression    bool     `help:"Accept permessage-deflate from clients that offer it."`

	redisFlags
	kafkaFlags
	mysqlFlags
	Node     string `placeholder:"NAME" help:"What this node is called in /api/info and in logs. Default: the host's name and the address."`
	RoomRate int    `default:"1000" placeholder:"N" help:"With --redis: messages a second that this node takes for one room, which is one key and one partition; above it 111. 0: no limit. Default: ${default}."`
	NoSink   bool   `help:"Do not write what is in Kafka to MySQL in this process: 'hubbub sink' processes do."`

	Loops     int           `default:"0" placeholder:"N" help:"Event loops; 0 stands for one a CPU, within the CPU quota of the container. Default: ${default}."`
	Engine    string        `default:"" placeholder:"NAME" help:"What the event loops stand on: epoll (Linux) or nbio (Linux, macOS, FreeBSD; three times the memory of a silent connection). Empty: the first of these that this system has."`
	MaxConns  int           `default:"0" placeholder:"N" help:"Connections at once; above it WebSockets are answered 503, health checks and scrapes as ever. 0 stands for what the limit of open files allows; more than that is refused. Default: ${default}."`
	MaxHead   int           `default:"16384" placeholder:"BYTES" help:"Largest head of a request, cookies and all, in bytes; above it 431. nginx.conf has its own limit, large_client_header_buffers. Default: ${default}."`
	MaxSize   int           `default:"65536" placeholder:"BYTES" help:"Largest frame or message of a client, in bytes. Default: ${default}."`
	Drain     time.Duration `default:"5s" placeholder:"TIME" help:"Over how long a stopping node spreads its clients' reconnects. Default: ${default}."`
	DebugAddr string        `default:"" placeholder:"HOST:PORT" help:"Serve pprof there; loopback addresses only. Empty: nowhere."`
	Echo      bool          `help:"Serve /echo, which sends every WebSocket message back through the production framing, for conformance suites."`
	Insecure  bool          `help:"For trying and tests, on a loopback address only (--addr :PORT is 127.0.0.1:PORT then): everybody may do everything in every channel, guests come in beside tokens, any secret will do, every origin connects, and no rate or count of connections is limited."`
	LogLevel  zapcore.Level `default:"info" placeholder:"LEVEL" help:"debug, info, warn or error. Default: ${default}."`
}

// jwksSource is a setting that cannot be empty: whoever gives it, with an empty
// variable, does not mean a server without tokens, which is open to guests.
type jwksSource string

// UnmarshalText reads the setting.
func (s *jwksSource) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return errors.New("empty; leave it out where there is no JWK set")
	}
	*s = jwksSource(text)
	return nil
}

const (
	maxLoops         = 64
	maxSubscriptions = 255     // what a session counts in a byte
	maxBatch         = 1 << 20 // commands
	minHead, maxHead = 16 << 10, 1 << 20
)

// Validate reports the first value that cannot be meant.
func (c *serveCmd) Validate() error {
	if _, _, err := net.SplitHostPort(c.Addr); err != nil {
		return fmt.Errorf("--addr %q is not HOST:PORT", c.Addr)
	}
	if c.Insecure && !loopback(c.lifted().Addr) {
		return fmt.Errorf("--insecure is for loopback addresses alone, not for --addr %s", c.Addr)
	}
	if c.Data == "" {
		return errors.New("--data is empty")
	}
	if err := c.validateBackends(); err != nil {
		return err
	}
	if err := c.validateLimits(); err != nil {
		return err
	}
	if err := c.validateKeys(); err != nil {
		return err
	}
	if _, err := c.policy(); err != nil {
		return err
	}
	if _, err := limits.ParseOrigins(c.AllowedOrigins); err != nil {
		return fmt.Errorf("--allowed-origins: %w", err)
	}
	if _, err := limits.ParseProxies(c.TrustedProxies); err != nil {
		return fmt.Errorf("--trusted-proxies: %w", err)
	}
	if c.ProxyProtocol && len(c.TrustedProxies) == 0 {
		return errors.New("--proxy-protocol needs --trusted-proxies: who may name other addresses")
	}
	if c.DebugAddr != "" && !loopback(c.DebugAddr) {
		return fmt.Errorf("--debug-addr %q is not a loopback address with a port", c.DebugAddr)
	}
	return nil
}

// validateLimits reports a number out of its range.
func (c *serveCmd) validateLimits() error {
	if c.Loops < 0 || c.Loops > maxLoops {
		return fmt.Errorf("--loops %d is not between 0 and %d", c.Loops, maxLoops)
	}
	if err := netpoll.CheckEngine(c.Engine); err != nil {
		return fmt.Errorf("--engine: %w", err)
	}
	if c.MaxConns < 0 {
		return fmt.Errorf("--max-conns %d is negative", c.MaxConns)
	}
	if _, _, err := fitFiles(c.MaxConns, openFiles()); err != nil {
		return err
	}
	if c.MaxHead < minHead || c.MaxHead > maxHead {
		return fmt.Errorf("--max-head %d is not between %d and %d bytes", c.MaxHead, minHead, maxHead)
	}
	if c.MaxSize < 128 || c.MaxSize > 16<<20 {
		return fmt.Errorf("--max-size %d is not between 128 and 16777216 bytes", c.MaxSize)
	}
	if c.Subscriptions < 0 || c.Subscriptions > maxSubscriptions {
		return fmt.Errorf("--subscriptions %d is not between 0 and %d", c.Subscriptions, maxSubscriptions)
	}
	if c.Batch < 0 || c.Batch > maxBatch {
		return fmt.Errorf("--batch %d is not between 0 and %d", c.Batch, maxBatch)
	}
	if c.Drain < 0 || c.Drain > 10*time.Minute {
		return fmt.Errorf("--drain %v is not between 0s and 10m", c.Drain)
	}
	for _, n := range []struct {
		name  string
		value int
	}{{"--conns-per-ip", c.ConnsPerIP}, {"--conns-per-user", c.ConnsPerUser}, {"--max-handshakes", c.MaxHandshakes}, {"--handshake-rate", c.HandshakeRate}, {"--rate", c.Rate}, {"--room-rate", c.RoomRate}} {
		if n.value < 0 || n.value > 1e9 {
			return fmt.Errorf("%s %d is not between 0 and 1000000000", n.name, n.value)
		}
	}
	return nil
}

// validateKeys reports keys that cannot be used, without printing them.
func (c *serveCmd) validateKeys() error {
	if err := auth.Check(auth.KeysConfig{Specs: c.TokenKeys, WeakSecrets: c.Insecure}); err != nil {
		return fmt.Errorf("--token-key: %w", err)
	}
	if err := auth.Check(auth.KeysConfig{JWKS: string(c.JWKS)}); err != nil {
		return fmt.Errorf("--jwks: %w", err)
	}
	keys, err := c.apiKeys()
	if err != nil {
		return err
	}
	if err := api.CheckKeys(keys); err != nil {
		return fmt.Errorf("--api-key: %w", err)
	}
	return nil
}

// apiKeys are the keys of the API, read from their files.
func (c *serveCmd) apiKeys() ([]api.Key, error) {
	var keys []api.Key
	for _, k := range c.APIKeys {
		text, err := fromfile.Resolve(string(k))
		if err != nil {
			return nil, fmt.Errorf("--api-key: %w", err)
		}
		keys = append(keys, api.Key(text))
	}
	return keys, nil
}

// validateBackends reports settings of the other servers that do not fit
// together.
func (c *serveCmd) validateBackends() error {
	if _, err := c.redisConfig(); err != nil {
		return err
	}
	if err := errors.Join(c.kafkaFlags.Validate(), c.mysqlFlags.Validate()); err != nil {
		return err
	}
	switch {
	case c.Redis != "" && c.MySQL == "":
		return errors.New("--redis needs --mysql: nodes that share rooms share their history")
	case len(c.Kafka) > 0 && c.Redis == "":
		return errors.New("--kafka needs --redis, which gives messages their order first")
	case c.NoSink && len(c.Kafka) == 0:
		return errors.New("--no-sink means something with --kafka alone")
	}
	return nil
}

// lifted is the settings with what --insecure lifts.
func (c *serveCmd) lifted() serveCmd {
	l := *c
	if !c.Insecure {
		return l
	}
	if host, port, err := net.SplitHostPort(c.Addr); err == nil && host == "" {
		l.Addr = net.JoinHostPort("127.0.0.1", port)
	}
	l.ConnsPerIP, l.ConnsPerUser, l.HandshakeRate, l.Rate, l.RoomRate = 0, 0, 0, 0, 0
	l.Subscriptions, l.Batch = maxSubscriptions, maxBatch
	l.AllowedOrigins = []string{"*"}
	return l
}

// policy is what may be done in which channel.
func (c *serveCmd) policy() (*channels.Namespaces, error) {
	n, err := c.rules()
	if err == nil && c.Insecure {
		n.Unguard()
	}
	return n, err
}

// rules reads the configuration file.
func (c *serveCmd) rules() (*channels.Namespaces, error) {
	if c.Config == "" {
		return channels.Open(), nil
	}
	text, err := os.ReadFile(c.Config)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	n, err := channels.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("--config %s: %w", c.Config, err)
	}
	return n, nil
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// logger writes JSON lines to stderr, sampled: a log is for what is rare.
func (c *serveCmd) logger() (*zap.Logger, error) {
	cfg := zap.NewProductionConfig()
	cfg.Level = zap.NewAtomicLevelAt(c.LogLevel)
	cfg.EncoderConfig.EncodeTime = zapcore.ISO8601TimeEncoder
	cfg.DisableStacktrace = true
	return cfg.Build()
}
