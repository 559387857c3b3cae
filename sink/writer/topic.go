package writer

import (
	"context"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/hubbub-chat/hubbub/sink/kafka"
)

// topicID is what the topic is called in the database: its name and the id
// that Kafka gave it. The positions in a topic that was deleted and made anew
// are then not taken for those in the new one.
func topicID(ctx context.Context, client *kgo.Client, topic string) (string, error) {
	req := kmsg.NewMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &topic
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return "", err
	}
	if len(resp.Topics) != 1 {
		return "", errTopic
	}
	if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil {
		return "", fmt.Errorf("topic %s: %w", topic, err)
	}
	id := resp.Topics[0].TopicID
	return topic + "#" + base64.RawURLEncoding.EncodeToString(id[:]), nil
}

// before returns the first record of a partition that was produced at or after
// a time, but none above most.
func before(ctx context.Context, client *kgo.Client, topic string, partition int32, most int64, at time.Time) (int64, error) {
	offset, err := listOffset(ctx, client, topic, partition, at.UnixMilli())
	if err != nil {
		return 0, fmt.Errorf("ask where partition %d was at %v: %w", partition, at, err)
	}
	if offset < 0 { // all are older
		return most, nil
	}
	return min(offset, most), nil
}

// bounds returns the first record of a partition and the one after its last.
func bounds(ctx context.Context, client *kgo.Client, topic string, partition int32) (start, end int64, err error) {
	const earliest, latest = -2, -1
	for _, b := range []struct {
		which int64
		at    *int64
	}{{earliest, &start}, {latest, &end}} {
		if *b.at, err = listOffset(ctx, client, topic, partition, b.which); err != nil {
			return 0, 0, fmt.Errorf("ask for the bounds of partition %d: %w", partition, err)
		}
	}
	return start, end, nil
}

func listOffset(ctx context.Context, client *kgo.Client, topic string, partition int32, which int64) (int64, error) {
	req := kmsg.NewListOffsetsRequest()
	req.ReplicaID = -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp = partition, which
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return 0, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return 0, errTopic
	}
	answer := resp.Topics[0].Partitions[0]
	return answer.Offset, kerr.ErrorForCode(answer.ErrorCode)
}

var errTopic = fmt.Errorf("the brokers do not know the topic: %w", kafka.ErrNoTopic)
