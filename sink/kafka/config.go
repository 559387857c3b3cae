package kafka

import (
	"crypto/tls"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/sink"
)

// The ways to tell a broker who one is.
const (
	Plain       = "plain"
	ScramSHA256 = "scram-sha-256"
	ScramSHA512 = "scram-sha-512"
)

// Config says where the log is. The zero value of a number means its default.
type Config struct {
	Brokers  []string    // host:port; one that answers is enough
	TLS      *tls.Config // nil: none
	SASL     string      // one of the ways above; empty: none
	User     string
	Password string

	// Topic is created where it is missing, if Create allows it, with so many
	// partitions and replicas. What exists is taken as it is: a room is in
	// the partition its name hashes to, so the number is for good.
	Topic       string // default hubbub.messages
	Dead        string // where records go that cannot be stored, default Topic + ".dead"
	Create      bool
	Partitions  int32 // default 12
	Replication int16 // default 1

	// What may be under way to the brokers.
	MaxRecords int           // default 65,536
	MaxBytes   int           // by Message.Size, default 64 MiB
	MaxAge     time.Duration // of the oldest record, above which new ones are refused; default 2 s
	Linger     time.Duration // default 0: batches form by draining

	// Observe hears how long a record took to become durable, and Failed why
	// records have to be produced again. They may not block; they may be nil.
	Observe func(ack time.Duration)
	Failed  func(error)

	// MaxMessage bounds Message.Size from the store's side; 0: the topic alone.
	MaxMessage int

	// Log hears when Kafka falls silent, refuses records or is back, and of
	// settings of a topic that endanger messages. nil: nobody does.
	Log *zap.Logger

	dials *dials // of all clients that are made with this Config; by Defaults
}

// Defaults returns c with every zero that has a default replaced by it.
func (c Config) Defaults() Config {
	if c.Topic == "" {
		c.Topic = "hubbub.messages"
	}
	if c.Dead == "" {
		c.Dead = c.Topic + ".dead"
	}
	if c.Partitions == 0 {
		c.Partitions = 12
	}
	if c.Replication == 0 {
		c.Replication = 1
	}
	if c.MaxAge == 0 {
		c.MaxAge = 2 * time.Second
	}
	if c.dials == nil {
		c.dials = &dials{}
	}
	return c
}

// options are those that every client of the log has.
func (c *Config) options() ([]kgo.Opt, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID("hubbub"),
		// A broker that is gone is tried again after 50 ms, then ever less
		// often, so that all of its clients do not come back at once.
		kgo.RetryBackoffFn(sink.Backoff),
		kgo.DialTimeout(3 * time.Second),
		kgo.WithHooks(c.dials),
		// Leaders are looked for again that soon. The default, 5 s, is how long messages would be
		// refused after a broker has come back.
		kgo.MetadataMinAge(250 * time.Millisecond),
	}
	if c.TLS != nil {
		opts = append(opts, kgo.DialTLSConfig(c.TLS))
	}
	m, err := c.mechanism()
	if m != nil {
		opts = append(opts, kgo.SASL(m))
	}
	return opts, err
}

func (c *Config) mechanism() (sasl.Mechanism, error) {
	auth := scram.Auth{User: c.User, Pass: c.Password}
	switch c.SASL {
	case "":
		return nil, nil
	case Plain:
		return plain.Auth{User: c.User, Pass: c.Password}.AsMechanism(), nil
	case ScramSHA256:
		return auth.AsSha256Mechanism(), nil
	case ScramSHA512:
		return auth.AsSha512Mechanism(), nil
	}
	return nil, fmt.Errorf("unknown SASL mechanism %q", c.SASL)
}
