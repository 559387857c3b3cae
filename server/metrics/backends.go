package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hubbub-chat/hubbub/sink"
	"github.com/hubbub-chat/hubbub/sink/kafka"
	"github.com/hubbub-chat/hubbub/sink/writer"
)

// Backends are read at every scrape, too: those that a process has. What is
// nil is left out.
type Backends struct {
	Store    func() sink.StoreStats
	Producer func() kafka.ProducerStats
	Writer   func() writer.Stats
	Cluster  func() Cluster
	States   []Backend
}

// collectors are those of the parts that are there.
func (b Backends) collectors() (list []prometheus.Collector) {
	if b.Store != nil {
		list = append(list, storeStats(b.Store))
	}
	if b.Producer != nil {
		list = append(list, producerStats(b.Producer))
	}
	if b.Writer != nil {
		list = append(list, writerStats(b.Writer))
	}
	if b.Cluster != nil {
		list = append(list, clusterStats(b.Cluster))
	}
	if len(b.States) > 0 {
		list = append(list, newBackendState(b.States))
	}
	return list
}

// Watch adds figures to the node's.
func (m *Metrics) Watch(b Backends) { m.registry.MustRegister(b.collectors()...) }

// snapshots is a collector of what one call returns.
type snapshots[S any] struct {
	read    func() S
	figures []snapshotFigure[S]
}

type snapshotFigure[S any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(S) float64
}

func (c *snapshots[S]) gauge(name, help string, value func(S) float64) {
	c.figures = append(c.figures, snapshotFigure[S]{prometheus.NewDesc(name, help, nil, nil), prometheus.GaugeValue, value})
}

func (c *snapshots[S]) counter(name, help string, value func(S) uint64) {
	c.figures = append(c.figures, snapshotFigure[S]{
		prometheus.NewDesc(name, help, nil, nil), prometheus.CounterValue, func(s S) float64 { return float64(value(s)) },
	})
}

// Describe implements prometheus.Collector.
func (c *snapshots[S]) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range c.figures {
		ch <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (c *snapshots[S]) Collect(ch chan<- prometheus.Metric) {
	s := c.read()
	for _, f := range c.figures {
		ch <- prometheus.MustNewConstMetric(f.desc, f.kind, f.value(s))
	}
}

func storeStats(read func() sink.StoreStats) prometheus.Collector {
	type S = sink.StoreStats
	c := &snapshots[S]{read: read}
	c.counter("hubbub_store_queries_total", "Reads of messages that the database was asked for.", func(s S) uint64 { return s.Queries })
	c.gauge("hubbub_store_read_connections", "Connections that read, open.", func(s S) float64 { return float64(s.Reads.OpenConnections) })
	c.gauge("hubbub_store_write_connections", "Connections that write, open.", func(s S) float64 { return float64(s.Writes.OpenConnections) })
	c.counter("hubbub_store_read_waits_total", "Reads that had to wait for a connection.", func(s S) uint64 { return uint64(s.Reads.WaitCount) })
	// Of a file; a database elsewhere has figures of its own.
	if s := read(); s.Bytes > 0 {
		c.gauge("hubbub_store_bytes", "Bytes of the embedded database's file.", func(s S) float64 { return float64(s.Bytes) })
		c.gauge("hubbub_store_wal_bytes", "Bytes of its write-ahead log, which grows beyond 64 MiB while another process reads an old state of the database.", func(s S) float64 { return float64(s.WALBytes) })
	}
	return c
}

func producerStats(read func() kafka.ProducerStats) prometheus.Collector {
	type S = kafka.ProducerStats
	c := &snapshots[S]{read: read}
	c.counter("hubbub_log_produced_total", "Records that Kafka has confirmed.", func(s S) uint64 { return s.Produced })
	c.counter("hubbub_log_retried_total", "Times that a record was produced again because Kafka had refused it.", func(s S) uint64 { return s.Retried })
	c.counter("hubbub_log_too_large_total", "Messages given up because the topic does not take their size.", func(s S) uint64 { return s.TooLarge })
	c.gauge("hubbub_log_unreserved_messages", "Messages on their way that are another node's.", func(s S) float64 { return float64(s.Unreserved) })
	c.gauge("hubbub_log_oldest_seconds", "How long the oldest message has been on its way to Kafka.", func(s S) float64 { return s.Oldest.Seconds() })
	return c
}

func writerStats(read func() writer.Stats) prometheus.Collector {
	type S = writer.Stats
	c := &snapshots[S]{read: read}
	c.gauge("hubbub_writer_partitions", "Partitions of the log that this process stores.", func(s S) float64 { return float64(s.Partitions) })
	c.gauge("hubbub_writer_lag_records", "Records of these partitions that are not stored yet, by where the log ends; of those it had last while it cannot store.", func(s S) float64 { return float64(s.Lag) })
	c.gauge("hubbub_writer_delay_seconds", "Age of the oldest of these records; 0 when there is none.", func(s S) float64 { return s.Delay.Seconds() })
	c.gauge("hubbub_writer_owed", "Holes and heals to see to.", func(s S) float64 { return float64(s.Owed) })
	c.gauge("hubbub_writer_stuck_partitions", "Partitions that wait for a newer program.", func(s S) float64 { return float64(s.Stuck) })
	c.counter("hubbub_writer_stored_total", "Records stored, repeated ones included.", func(s S) uint64 { return s.Stored })
	c.counter("hubbub_writer_batches_total", "Transactions.", func(s S) uint64 { return s.Batches })
	c.counter("hubbub_writer_fenced_total", "Times that another writer had moved a position.", func(s S) uint64 { return s.Fenced })
	c.counter("hubbub_writer_rewinds_total", "Times that it went back to the stored positions.", func(s S) uint64 { return s.Rewinds })
	c.counter("hubbub_writer_foreign_total", "Records put aside that are not Hubbub's.", func(s S) uint64 { return s.Foreign })
	c.counter("hubbub_writer_poison_total", "Messages put aside that the database refuses.", func(s S) uint64 { return s.Poison })
	c.counter("hubbub_writer_holes_total", "Messages that others pointed at and nobody had stored.", func(s S) uint64 { return s.Holes })
	c.counter("hubbub_writer_repaired_total", "Of these, those found in the stream.", func(s S) uint64 { return s.Repaired })
	c.counter("hubbub_writer_lost_messages_total", "Of these, those given up. Somebody should look.", func(s S) uint64 { return s.Tombstones })
	c.counter("hubbub_writer_heals_total", "Epochs renewed after a loss in Redis.", func(s S) uint64 { return s.Heals })
	c.counter("hubbub_writer_lost_records_total", "Records that the log dropped before they were stored. Somebody should look.", func(s S) uint64 { return s.Lost })
	return c
}
