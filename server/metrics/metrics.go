// Package metrics is the node's figures in Prometheus form. What the other
// packages count for themselves is read when somebody scrapes; what has a
// distribution, or is rare, is observed here as it happens.
package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/netpoll"
)

// Sources are what is read at every scrape.
type Sources struct {
	Net      func() netpoll.Stats
	Conns    func() int // open sockets
	MaxConns func() int // as many as there may be
	Sessions func() int // connected clients
	Hub      func() fanout.Stats
	Queue    func() Queue
}

// Queue is what has been accepted and is not durable yet.
type Queue struct {
	Records, Bytes int
	Refused        uint64 // messages, because it was full
	Stalled        uint64 // messages, because nothing was becoming durable
}

// Metrics is one node's registry. Its methods may be called concurrently.
type Metrics struct {
	registry *prometheus.Registry

	publishAck    prometheus.Histogram
	commitBatch   prometheus.Histogram
	commitLatency prometheus.Histogram
	refused       prometheus.Counter
	errors        *prometheus.CounterVec
	closes        *prometheus.CounterVec
}

// New makes a registry that reads src.
func New(src Sources, version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		publishAck: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "hubbub_publish_ack_seconds", Help: "From a publish command to its acknowledgement: the message is durable.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
		commitBatch:   newCommitBatch(),
		commitLatency: newCommitLatency(),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "hubbub_publish_failed_total", Help: "Publishes that were accepted as valid and not stored: refused, or their commit failed.",
		}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hubbub_command_errors_total", Help: "Commands answered with an error, by its code.",
		}, []string{"code"}),
		closes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hubbub_closes_total", Help: "WebSocket connections that ended, by close code; 1006 is without a close frame.",
		}, []string{"code"}),
	}
	m.registry.MustRegister(m.publishAck, m.commitBatch, m.commitLatency, m.refused, m.errors, m.closes, newBuildInfo(version),
		newReader(src), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func newCommitBatch() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "hubbub_commit_messages", Help: "Messages in one transaction of the store.",
		Buckets: prometheus.ExponentialBuckets(1, 2, 13),
	})
}

func newCommitLatency() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "hubbub_commit_seconds", Help: "How long one transaction of the store took.",
		Buckets: prometheus.ExponentialBuckets(0.00005, 2, 16),
	})
}

func newBuildInfo(version string) prometheus.Gauge {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "hubbub_build_info", Help: "1, with the version.", ConstLabels: prometheus.Labels{"version": version},
	})
	info.Set(1)
	return info
}

// Handler serves the scrapes.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Published implements sessions.Observer.
func (m *Metrics) Published(ack time.Duration, err error) {
	if err != nil {
		m.refused.Inc()
		return
	}
	m.publishAck.Observe(ack.Seconds())
}

// Failed implements sessions.Observer.
func (m *Metrics) Failed(code uint32) {
	m.errors.WithLabelValues(strconv.FormatUint(uint64(code), 10)).Inc()
}

// Closed implements sessions.Observer.
func (m *Metrics) Closed(code uint16) { m.closes.WithLabelValues(closeLabel(code)).Inc() }

// closeLabel keeps clients from choosing labels: a close frame may carry any
// of thousands of codes.
func closeLabel(code uint16) string {
	if code >= 1000 && code <= 1014 || code >= 3000 && code <= 3014 || code >= 3500 && code <= 3507 {
		return strconv.FormatUint(uint64(code), 10)
	}
	return "other"
}

// Committed is told of a transaction.
func (m *Metrics) Committed(messages int, took time.Duration) {
	m.commitBatch.Observe(float64(messages))
	m.commitLatency.Observe(took.Seconds())
}
