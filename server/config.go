package main

import (
	"errors"
	"fmt"
	"net"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/hubbub-chat/hubbub/sink"
)

// serveCmd is all settings of a node, flat. No flag at all gives a node that
// works.
type serveCmd struct {
	Addr      string        `default:":8000" placeholder:"HOST:PORT" help:"TCP address to listen on, for page, API and WebSocket alike."`
	Data      string        `default:"./data" placeholder:"DIR" help:"Directory of the embedded store. One process at a time."`
	Sync      sink.Sync     `default:"full" placeholder:"full|normal" help:"When a message counts as stored. full: flushed to the disk; an acknowledged message survives power loss. normal: with the kernel; it survives kill -9 of the server, but the last instants before a power loss may be gone. Commits cost less."`
	Guests    bool          `default:"true" negatable:"" help:"Let clients in that have no token."`
	Loops     int           `default:"0" placeholder:"N" help:"Event loops; 0 stands for one a CPU."`
	MaxConns  int           `default:"0" placeholder:"N" help:"Connections at once; above it new ones are answered 503. 0 stands for what the limit of open files allows."`
	MaxSize   int           `default:"65536" placeholder:"BYTES" help:"Largest frame or message of a client, in bytes."`
	Drain     time.Duration `default:"5s" placeholder:"TIME" help:"Over how long a stopping node spreads its clients' reconnects."`
	DebugAddr string        `default:"" placeholder:"HOST:PORT" help:"Serve pprof there; loopback addresses only. Empty: nowhere."`
	Echo      bool          `help:"Serve /echo, which sends every WebSocket message back through the production framing, for conformance suites."`
	LogLevel  zapcore.Level `default:"info" placeholder:"LEVEL" help:"debug, info, warn or error."`
}

// Validate reports the first value that cannot be meant.
func (c *serveCmd) Validate() error {
	if _, _, err := net.SplitHostPort(c.Addr); err != nil {
		return fmt.Errorf("--addr %q is not HOST:PORT", c.Addr)
	}
	if c.Data == "" {
		return errors.New("--data is empty")
	}
	if c.Loops < 0 || c.Loops > 64 {
		return fmt.Errorf("--loops %d is not between 0 and 64", c.Loops)
	}
	if c.MaxConns < 0 {
		return fmt.Errorf("--max-conns %d is negative", c.MaxConns)
	}
	if c.MaxSize < 128 || c.MaxSize > 16<<20 {
		return fmt.Errorf("--max-size %d is not between 128 and 16777216 bytes", c.MaxSize)
	}
	if c.Drain < 0 || c.Drain > 10*time.Minute {
		return fmt.Errorf("--drain %v is not between 0s and 10m", c.Drain)
	}
	if c.DebugAddr != "" && !loopback(c.DebugAddr) {
		return fmt.Errorf("--debug-addr %q is not a loopback address with a port", c.DebugAddr)
	}
	return nil
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
