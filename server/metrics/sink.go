package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Sink is the registry of a process that only writes.
type Sink struct {
	registry      *prometheus.Registry
	commitBatch   prometheus.Histogram
	commitLatency prometheus.Histogram
}

// NewSink makes a registry. Watch adds what it reads.
func NewSink(version string) *Sink {
	s := &Sink{registry: prometheus.NewRegistry(), commitBatch: newCommitBatch(), commitLatency: newCommitLatency()}
	s.registry.MustRegister(s.commitBatch, s.commitLatency, newBuildInfo(version),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return s
}

// Watch adds figures.
func (s *Sink) Watch(b Backends) { s.registry.MustRegister(b.collectors()...) }

// Committed is told of a transaction.
func (s *Sink) Committed(messages int, took time.Duration) {
	s.commitBatch.Observe(float64(messages))
	s.commitLatency.Observe(took.Seconds())
}

// Handler serves the scrapes.
func (s *Sink) Handler() http.Handler { return promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}) }
