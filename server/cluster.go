package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/fanout/redis"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/metrics"
	"github.com/hubbub-chat/hubbub/sink"
)

// redisFlags are the settings of the relay, the same for every command that
// uses it.
type redisFlags struct {
	Redis       string `placeholder:"URL" help:"Redis 7 or later, which orders messages and brings them to all nodes: redis://[user:password@]host:port, rediss:// for TLS, ?addr=host:port for further nodes, ?master_set=NAME for Sentinels; or file:PATH of a file that says so. Empty: this node is alone."`
	RedisCA     string `name:"redis-ca" placeholder:"FILE" help:"PEM file with the authorities that sign the certificates of Redis. Empty: the system's."`
	RedisPrefix string `default:"hubbub" placeholder:"NAME" help:"What every key and channel in Redis begins with. Default: ${default}."`
}

// redisConfig reads the files that the flags name.
func (f *redisFlags) redisConfig() (c redis.ClientConfig, err error) {
	if f.Redis == "" {
		if f.RedisCA != "" {
			return c, errors.New("--redis is needed for --redis-ca to mean something")
		}
		return c, nil
	}
	c = redis.ClientConfig{URL: f.Redis, CA: f.RedisCA, Prefix: f.RedisPrefix}
	if path, ok := strings.CutPrefix(f.Redis, "file:"); ok {
		if c.URL, err = secretFile("--redis", path); err != nil {
			return c, err
		}
	}
	if err := c.Check(); err != nil {
		return c, fmt.Errorf("--redis: %w", err)
	}
	return c, nil
}

// openRedis connects.
func (f *redisFlags) openRedis(ctx context.Context, log *zap.Logger) (*redis.Client, error) {
	c, err := f.redisConfig()
	if err != nil {
		return nil, err
	}
	client, err := redis.Open(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("--redis: %w", err)
	}
	for _, note := range client.Notes() {
		log.Warn(note)
	}
	return client, nil
}

// durableLog is where a cluster's messages become durable: Kafka, or the
// database at once.
type durableLog interface {
	redis.Log
	Ready() error
	Queue() metrics.Queue
	Close(ctx context.Context) error // when everything is durable
}

// cluster is the delivery of one of several nodes: Redis gives offsets and
// brings messages to all, a log makes them durable, and the database keeps
// them.
type cluster struct {
	*redis.History
	client *redis.Client
	relay  *redis.Relay
	store  *sink.MySQL
	log    durableLog
	writer func(ctx context.Context) error // stops the writer, if one runs in this process; nil
}

// newCluster makes a delivery of connected parts, which it closes.
func newCluster(client *redis.Client, store *sink.MySQL, log durableLog, logger *zap.Logger) *cluster {
	c := &cluster{client: client, store: store, log: log}
	c.relay = redis.New(redis.Config{Client: client, Log: log, Store: store, Logger: logger})
	c.History = redis.NewHistory(c.relay)
	return c
}

func (c *cluster) Source() fanout.Source  { return c.relay.Source() }
func (c *cluster) Attach(hub *fanout.Hub) { c.relay.Start(hub) }
func (c *cluster) Queue() metrics.Queue   { return c.log.Queue() }

func (c *cluster) Publish(m *schema.Message, done func(error)) error { return c.relay.Publish(m, done) }

func (c *cluster) Event(room string, encode func([]byte, schema.Codec) []byte) {
	c.relay.Event(room, encode)
}

func (c *cluster) Ready() error {
	if !c.relay.Connected() {
		return redis.ErrUnavailable
	}
	return c.log.Ready()
}

func (c *cluster) Drain(ctx context.Context) error {
	c.relay.Drain(ctx)
	return c.log.Close(ctx)
}

// Close implements delivery. What the log did not confirm in time, another
// node produces again from the stream.
func (c *cluster) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c.relay.Close()
	err := c.log.Close(ctx)
	if c.writer != nil {
		err = errors.Join(err, c.writer(ctx))
	}
	err = errors.Join(err, c.store.Close())
	c.client.Close()
	return err
}
