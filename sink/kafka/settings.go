package kafka

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// defaultMaxMessage is Kafka's own, for brokers that do not tell.
const defaultMaxMessage = 1_048_588

// Below these, an outage of the database for one night can be longer than the
// log remembers.
const (
	minRetention      = 24 * time.Hour
	minRetentionBytes = 256 << 20 // of a partition
)

// settings are those of a topic that matter here. What the broker does not tell
// is not there: they may be read by administrators alone.
type settings struct {
	topic  string
	values map[string]string
}

// describeSettings asks for a topic's.
func describeSettings(ctx context.Context, client *kgo.Client, topic string) (s settings, err error) {
	req := kmsg.NewDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	r.ConfigNames = []string{
		"max.message.bytes", "cleanup.policy", "retention.ms", "retention.bytes", "min.insync.replicas", "unclean.leader.election.enable",
	}
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return s, fmt.Errorf("ask for the settings of topic %s: %w", topic, err)
	}
	s = settings{topic, make(map[string]string)}
	for _, r := range resp.Resources {
		for _, c := range r.Configs {
			if c.Value != nil {
				s.values[c.Name] = *c.Value
			}
		}
	}
	return s, nil
}

// number is a setting's value, or that of a broker that does not tell.
func (s settings) number(name string, unknown int) int {
	n, err := strconv.Atoi(s.values[name])
	if err != nil {
		return unknown
	}
	return n
}

// maxMessageBytes is how large a batch the topic takes.
func (s settings) maxMessageBytes() int {
	return min(max(s.number("max.message.bytes", defaultMaxMessage), 512), 64<<20) // what the client library can do
}

// compacted reports whether the topic forgets all records of a key but the last.
func (s settings) compacted() bool {
	for policy := range strings.SplitSeq(s.values["cleanup.policy"], ",") {
		if strings.TrimSpace(policy) == "compact" {
			return true
		}
	}
	return false
}

// refuse returns why messages cannot be kept in the topic, or nil. A room is
// the key of its messages.
func (s settings) refuse() error {
	if !s.compacted() {
		return nil
	}
	return fmt.Errorf("%w: cleanup.policy of topic %s is %q, so that Kafka forgets all messages of a room but the newest, stored or not; set it to delete",
		ErrSettings, s.topic, s.values["cleanup.policy"])
}

// warnings are what can lose records some day, one line each.
func (s settings) warnings(dead bool) (list []string) {
	warn := func(format string, args ...any) {
		list = append(list, "topic "+s.topic+": "+fmt.Sprintf(format, args...))
	}
	if dead && s.compacted() {
		warn("cleanup.policy is %q: of the messages of a room that could not be stored the newest alone is kept", s.values["cleanup.policy"])
	}
	if ms := s.number("retention.ms", -1); ms >= 0 && time.Duration(ms)*time.Millisecond < minRetention {
		warn("retention.ms is %d: what is not stored after %v is lost", ms, time.Duration(ms)*time.Millisecond)
	}
	if bytes := s.number("retention.bytes", -1); bytes >= 0 && bytes < minRetentionBytes {
		warn("retention.bytes is %d: what is not stored when a partition has more is lost", bytes)
	}
	if s.values["unclean.leader.election.enable"] == "true" {
		warn("unclean.leader.election.enable is true: a replica that lags may become the leader, and what it has not got is lost")
	}
	return list
}
