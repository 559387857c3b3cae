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
	"github.com/hubbub-chat/hubbub/internal/contact"
	fromfile "github.com/hubbub-chat/hubbub/internal/secret"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/metrics"
	"github.com/hubbub-chat/hubbub/sink"
	"github.com/hubbub-chat/hubbub/sink/kafka"
	"github.com/hubbub-chat/hubbub/sink/writer"
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
	c = redis.ClientConfig{CA: f.RedisCA, Prefix: f.RedisPrefix}
	if c.URL, err = fromfile.Resolve(f.Redis); err != nil {
		return c, fmt.Errorf("--redis: %w", err)
	}
	c.URL = strings.TrimSpace(c.URL)
	if err := c.Check(); err != nil {
		return c, fmt.Errorf("--redis: %w", err)
	}
	return c, nil
}

// openRedis connects. The writer alone needs fewer rights than a node.
func (f *redisFlags) openRedis(ctx context.Context, log *zap.Logger, writer bool) (*redis.Client, error) {
	c, err := f.redisConfig()
	if err != nil {
		return nil, err
	}
	c.Writer = writer
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
	Ready(ctx context.Context) error
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
	budget func() sink.BudgetStats // of the log
	writer *writer.Writer          // of the log to the database; nil where others do that
	counts metrics.Backends
}

// newCluster connects what the settings name. On an error nothing stays open.
func (n *Node) newCluster(ctx context.Context) (_ *cluster, err error) {
	c := &cluster{}
	defer func() {
		if err != nil {
			c.release(ctx)
		}
	}()
	if c.client, err = n.cfg.openRedis(ctx, n.log, false); err != nil {
		return nil, err
	}
	if c.store, err = n.openMySQL(ctx); err != nil {
		return nil, err
	}
	c.counts.Store = c.store.Stats
	c.counts.States = append(c.counts.States, c.store.Contact())
	if len(n.cfg.Kafka) > 0 {
		err = c.openKafka(ctx, n)
	} else {
		c.openDirect(n)
	}
	if err != nil {
		return nil, err
	}
	c.relay = redis.New(redis.Config{Client: c.client, Log: c.log, Store: readable{c.store}, Logger: n.log, RoomRate: n.cfg.RoomRate})
	c.History = redis.NewHistory(c.relay)
	c.counts.Cluster = c.figures
	c.counts.States = append(c.counts.States, c.relay.Contact())
	n.metrics.Watch(c.counts)
	return c, nil
}

// openKafka makes Kafka the log.
func (c *cluster) openKafka(ctx context.Context, n *Node) error {
	cfg, err := n.cfg.kafkaConfig()
	if err != nil {
		return err
	}
	cfg.MaxMessage = c.store.MaxSize()
	cfg.Log = n.log
	p, err := kafka.Open(ctx, cfg)
	if err != nil {
		return kafkaError(err)
	}
	c.log = p
	c.budget = func() sink.BudgetStats { return p.Stats().BudgetStats }
	c.counts.Producer = p.Stats
	c.counts.States = append(c.counts.States, p.Contact())
	if n.cfg.NoSink {
		return nil
	}
	cfg.Log = nil // what there is to say of Kafka, the producer says
	if c.writer, err = openWriter(ctx, cfg, c.store, c.client, n.log, n.committed); err == nil {
		c.counts.Writer = c.writer.Stats
	}
	return err
}

// openDirect makes the database the log.
func (c *cluster) openDirect(n *Node) {
	l := sink.NewDirectLog(c.store, sink.DirectLogConfig{
		BudgetConfig: sink.BudgetConfig{MaxSize: c.store.MaxSize(), Contact: c.store.Contact()},
		SetAside: func(m *schema.Message, err error) {
			n.log.Error("the database refuses a message", zap.Uint64("offset", m.Offset), zap.Error(err))
		},
		Healed:  c.client.Healed,
		Observe: n.committed,
	})
	c.log = l
	c.budget = func() sink.BudgetStats { return l.Stats().BudgetStats }
}

func (c *cluster) Source() fanout.Source  { return c.relay.Source() }
func (c *cluster) Attach(hub *fanout.Hub) { c.relay.Start(hub) }

func (c *cluster) Queue() metrics.Queue {
	s := c.budget()
	return metrics.Queue{Records: s.Records, Bytes: s.Bytes, Refused: s.Refused, Stalled: s.Stalled}
}

// figures is for metrics.
func (c *cluster) figures() metrics.Cluster {
	m := metrics.Cluster{Redis: c.relay.Stats(), Connected: c.relay.Connected(), Writable: c.relay.Contact().State() == contact.Answers, Oldest: c.budget().Oldest.Seconds()}
	m.Streamed, m.Stored = c.Asked()
	return m
}

func (c *cluster) Publish(m *schema.Message, done func(error)) error { return c.relay.Publish(m, done) }

func (c *cluster) Event(room string, encode func([]byte, schema.Codec) []byte) {
	c.relay.Event(room, encode)
}

func (c *cluster) Announce(room string, encode func([]byte, schema.Codec) []byte) {
	c.relay.Announce(room, encode)
}

func (c *cluster) Block(ctx context.Context, user string, until int64) error {
	return c.store.Block(ctx, user, until)
}

func (c *cluster) Unblock(ctx context.Context, user string) error { return c.store.Unblock(ctx, user) }

func (c *cluster) Blocked(ctx context.Context) (map[string]int64, error) { return c.store.Blocked(ctx) }

// Ready implements delivery. That the database does not answer is no reason
// to send clients elsewhere: messages are delivered, and history heals.
func (c *cluster) Ready(ctx context.Context) error {
	if err := c.relay.Ready(); err != nil {
		return err
	}
	return c.log.Ready(ctx)
}

func (c *cluster) Drain(ctx context.Context) error {
	c.relay.Drain(ctx)
	return c.log.Close(ctx)
}

// Close implements delivery. What the log did not confirm in time, another
// node produces again from the stream.
func (c *cluster) Close() error {
	c.relay.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return c.release(ctx)
}

// release closes what has been opened, the relay apart.
func (c *cluster) release(ctx context.Context) (err error) {
	if c.log != nil {
		err = c.log.Close(ctx)
	}
	if c.writer != nil {
		err = errors.Join(err, c.writer.Close(ctx))
	}
	if c.store != nil {
		err = errors.Join(err, c.store.Close())
	}
	if c.client != nil {
		c.client.Close()
	}
	return err
}
