package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hubbub-chat/hubbub/fanout/redis"
)

// Cluster is what a node of a cluster counts beside the rest.
type Cluster struct {
	Redis            redis.Stats
	Connected        bool    // Redis answers
	Streamed, Stored uint64  // questions of history that the stream answered, and that the database was asked
	Oldest           float64 // seconds that the oldest message on its way to being durable has waited
}

// clusterReader is the reader of a node of a cluster.
type clusterReader struct {
	read    func() Cluster
	figures []clusterFigure
}

type clusterFigure struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*Cluster) float64
}

func newClusterReader(read func() Cluster) *clusterReader {
	r := &clusterReader{read: read}
	gauge := func(name, help string, value func(*Cluster) float64) {
		r.figures = append(r.figures, clusterFigure{prometheus.NewDesc(name, help, nil, nil), prometheus.GaugeValue, value})
	}
	counter := func(name, help string, value func(*Cluster) uint64) {
		r.figures = append(r.figures, clusterFigure{prometheus.NewDesc(name, help, nil, nil), prometheus.CounterValue,
			func(c *Cluster) float64 { return float64(value(c)) }})
	}
	gauge("hubbub_redis_up", "1 while Redis answers and every primary is listened to.", func(c *Cluster) float64 {
		if c.Connected {
			return 1
		}
		return 0
	})
	gauge("hubbub_relay_feeds", "Primaries that are listened to.", func(c *Cluster) float64 { return float64(c.Redis.Feeds) })
	gauge("hubbub_relay_rooms", "Rooms that are listened to.", func(c *Cluster) float64 { return float64(c.Redis.Rooms) })
	gauge("hubbub_relay_queue_messages", "Messages waiting for their offset.", func(c *Cluster) float64 { return float64(c.Redis.Queued) })
	gauge("hubbub_relay_unconfirmed_messages", "Messages that members have seen and that are not durable yet.", func(c *Cluster) float64 { return float64(c.Redis.Open) })
	gauge("hubbub_write_queue_oldest_seconds", "For how long the oldest of them has waited; above 2 publishes are refused.", func(c *Cluster) float64 { return c.Oldest })
	counter("hubbub_relay_minted_total", "Messages that got their offset.", func(c *Cluster) uint64 { return c.Redis.Minted })
	counter("hubbub_relay_duplicates_total", "Messages that were there before, by their key.", func(c *Cluster) uint64 { return c.Redis.Duplicates })
	counter("hubbub_relay_refused_total", "Messages refused because Redis did not answer, a room was too busy, or the log too slow.", func(c *Cluster) uint64 { return c.Redis.Refused })
	counter("hubbub_relay_maybe_total", "Messages whose senders were told that nobody knows.", func(c *Cluster) uint64 { return c.Redis.Maybe })
	counter("hubbub_relay_gaps_total", "Gaps found in rooms, and filled or told.", func(c *Cluster) uint64 { return c.Redis.Gaps })
	counter("hubbub_relay_resets_total", "Rooms whose members were told to load their history anew: Redis had lost something.", func(c *Cluster) uint64 { return c.Redis.Resets })
	counter("hubbub_relay_rescued_total", "Messages of dead nodes that were produced again.", func(c *Cluster) uint64 { return c.Redis.Rescued })
	counter("hubbub_relay_dropped_total", "Payloads that came faster than they were taken, and events that could not be sent.", func(c *Cluster) uint64 { return c.Redis.Dropped })
	counter("hubbub_history_stream_total", "Questions of history that the stream answered.", func(c *Cluster) uint64 { return c.Streamed })
	counter("hubbub_history_database_total", "Questions of history that the database was asked.", func(c *Cluster) uint64 { return c.Stored })
	return r
}

// Describe implements prometheus.Collector.
func (r *clusterReader) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range r.figures {
		ch <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (r *clusterReader) Collect(ch chan<- prometheus.Metric) {
	c := r.read()
	for _, f := range r.figures {
		ch <- prometheus.MustNewConstMetric(f.desc, f.kind, f.value(&c))
	}
}
