package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hubbub-chat/hubbub/internal/contact"
)

// Backend is a back end whose state is known: a contact.Contact, or several of
// them as one.
type Backend interface {
	Name() string
	Status() contact.Status
}

// backendState is one series for each back end and state: 1 for the state that
// it is in, and 0 for the others.
type backendState struct {
	desc     *prometheus.Desc
	backends []Backend
}

func newBackendState(backends []Backend) *backendState {
	return &backendState{prometheus.NewDesc("hubbub_backend_state",
		"1 for the state that a back end is in: it answers, it answers and refuses writes, or it is silent.",
		[]string{"backend", "state"}, nil), backends}
}

// Describe implements prometheus.Collector.
func (c *backendState) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector.
func (c *backendState) Collect(ch chan<- prometheus.Metric) {
	for _, b := range c.backends {
		is := b.Status().State
		for _, s := range contact.States {
			ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, flag(s == is), b.Name(), s.String())
		}
	}
}

// flag is a gauge of what is so or not.
func flag(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
