package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What keeps a program from starting, each by the setting that it is about.
var (
	ErrUnreachable = errors.New("no broker answers")
	ErrLogin       = errors.New("the brokers refuse the login")
	ErrNoTopic     = errors.New("the topic does not exist")
	ErrCreate      = errors.New("the topic cannot be created")
	ErrSettings    = errors.New("the topic's settings would lose messages")
)

// startTimeout bounds what is asked of the brokers before anything runs.
const startTimeout = 10 * time.Second

// Dial makes a client with the options of c and further ones, once a broker
// has answered. The topics named are there then, the leaders of their
// partitions can be reached, and the first keeps what it is given; maxBytes is
// the most that a batch for it may have.
func Dial(ctx context.Context, c Config, topics []string, further ...kgo.Opt) (client *kgo.Client, maxBytes int, err error) {
	c = c.Defaults()
	opts, err := c.options()
	if err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	// A client of its own, which does not try for as long as one that runs.
	start, err := kgo.NewClient(append(opts, kgo.RequestRetries(2), kgo.RetryTimeout(startTimeout/2))...)
	if err != nil {
		return nil, 0, err
	}
	defer start.Close()
	if err := Ping(ctx, start, c.Brokers); err != nil {
		return nil, 0, err
	}
	for _, topic := range topics {
		partitions := c.Partitions
		if topic == c.Dead {
			partitions = 1
		}
		if err := ensureTopic(ctx, start, topic, partitions, c.Replication, c.Create); err != nil {
			return nil, 0, c.dials.explain(err)
		}
		if err := reachLeaders(ctx, start, topic); err != nil {
			return nil, 0, c.dials.explain(err)
		}
	}
	maxBytes = defaultMaxMessage
	if len(topics) > 0 {
		settings, err := describeSettings(ctx, start, topics[0])
		if err != nil {
			return nil, 0, err
		}
		if err := settings.refuse(); err != nil {
			return nil, 0, err
		}
		maxBytes = settings.maxMessageBytes()
	}
	opts = append(opts, kgo.ProducerBatchMaxBytes(int32(maxBytes)), kgo.BrokerMaxReadBytes(256<<20))
	client, err = kgo.NewClient(append(opts, further...)...)
	return client, maxBytes, err
}

// Ping asks the brokers for a sign of life, and says why there is none.
func Ping(ctx context.Context, client *kgo.Client, brokers []string) error {
	err := client.Ping(ctx)
	if err == nil {
		return nil
	}
	for _, refused := range []error{kerr.SaslAuthenticationFailed, kerr.UnsupportedSaslMechanism, kerr.IllegalSaslState} {
		if errors.Is(err, refused) {
			return fmt.Errorf("%w: %w", ErrLogin, oneLine(err))
		}
	}
	return fmt.Errorf("%w at %s: %w", ErrUnreachable, strings.Join(brokers, ","), oneLine(err))
}

// oneLine keeps an error that joins others on one line.
func oneLine(err error) error {
	if text := err.Error(); strings.Contains(text, "\n") {
		return errors.New(strings.ReplaceAll(text, "\n", "; "))
	}
	return err
}

// ensureTopic returns when the topic exists and each partition has a leader.
func ensureTopic(ctx context.Context, client *kgo.Client, topic string, partitions int32, replication int16, create bool) error {
	created := false
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		_, err := describeTopic(ctx, client, topic)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, kerr.UnknownTopicOrPartition) && !created:
			if !create {
				return fmt.Errorf("%w: %s", ErrNoTopic, topic)
			}
			if err := createTopic(ctx, client, topic, partitions, replication); err != nil {
				return err
			}
			created = true
		case !kerr.IsRetriable(err):
			if answer := (*kerr.Error)(nil); !errors.As(err, &answer) {
				return fmt.Errorf("%w: %w", ErrUnreachable, oneLine(err))
			}
			return fmt.Errorf("look for topic %s: %w", topic, err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("wait for topic %s: %w", topic, err)
		}
	}
}

// reachLeaders returns when the leader of each partition has answered, at the
// address that the brokers give for it.
func reachLeaders(ctx context.Context, client *kgo.Client, topic string) error {
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		_, _, err := askLeaders(ctx, client, topic, 0)
		var answer *kerr.Error
		if err == nil || errors.As(err, &answer) && !kerr.IsRetriable(err) {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrUnreachable, oneLine(err))
		}
	}
}

// describeTopic returns the partitions of a topic, each of which has a leader.
func describeTopic(ctx context.Context, client *kgo.Client, topic string) ([]kmsg.MetadataResponseTopicPartition, error) {
	req := kmsg.NewMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &topic
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return nil, err
	}
	if len(resp.Topics) != 1 {
		return nil, fmt.Errorf("asked for 1 topic, heard of %d", len(resp.Topics))
	}
	if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil {
		return nil, err
	}
	for _, p := range resp.Topics[0].Partitions {
		if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
			return nil, fmt.Errorf("partition %d: %w", p.Partition, err)
		}
	}
	return resp.Topics[0].Partitions, nil
}

func createTopic(ctx context.Context, client *kgo.Client, topic string, partitions int32, replication int16) error {
	req := kmsg.NewCreateTopicsRequest()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = topic, partitions, replication
	if replication >= 3 {
		// An acknowledgement then stands for two machines. With two replicas
		// that would stop the log when one is gone.
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = "min.insync.replicas", kmsg.StringPtr("2")
		t.Configs = append(t.Configs, c)
	}
	req.Topics = append(req.Topics, t)
	req.TimeoutMillis = int32(startTimeout.Milliseconds())
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrCreate, topic, err)
	}
	for _, t := range resp.Topics {
		err := kerr.ErrorForCode(t.ErrorCode)
		if err == nil || errors.Is(err, kerr.TopicAlreadyExists) { // somebody else was first
			continue
		}
		if t.ErrorMessage != nil {
			return fmt.Errorf("%w: %s: %s", ErrCreate, topic, *t.ErrorMessage)
		}
		return fmt.Errorf("%w: %s: %w", ErrCreate, topic, err)
	}
	return nil
}
