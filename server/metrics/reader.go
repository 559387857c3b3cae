package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/netpoll"
)

// reader turns what the packages count for themselves into metrics.
type reader struct {
	src   Sources
	descs []figure
}

// figure is one metric: what it is, and where it stands in a snapshot.
type figure struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*snapshot) float64
}

// snapshot is what the sources said at one scrape.
type snapshot struct {
	Sources
	net   netpoll.Stats
	hub   fanout.Stats
	queue Queue
	conns int
}

func newReader(src Sources) *reader {
	r := &reader{src: src}
	add := func(kind prometheus.ValueType, name, help string, value func(*snapshot) float64) {
		r.descs = append(r.descs, figure{prometheus.NewDesc(name, help, nil, nil), kind, value})
	}
	gauge := func(name, help string, value func(*snapshot) float64) {
		add(prometheus.GaugeValue, name, help, value)
	}
	counter := func(name, help string, value func(*snapshot) uint64) {
		add(prometheus.CounterValue, name, help, func(s *snapshot) float64 { return float64(value(s)) })
	}
	gauge("hubbub_connections", "Open sockets of the event loops, those in their handshake included.", func(s *snapshot) float64 { return float64(s.conns) })
	gauge("hubbub_max_connections", "As many as there may be: above it new ones are answered 503, and readyz is 503.", func(s *snapshot) float64 { return float64(s.MaxConns()) })
	gauge("hubbub_sessions", "Connected clients.", func(s *snapshot) float64 { return float64(s.Sessions()) })
	gauge("hubbub_subscriptions", "Subscriptions of all clients.", func(s *snapshot) float64 { return float64(s.hub.Members) })
	gauge("hubbub_rooms", "Rooms in memory.", func(s *snapshot) float64 { return float64(s.hub.Rooms) })
	gauge("hubbub_rooms_ahead", "Rooms in memory whose newest message says that it is of a time more than five minutes from now: a clock was wrong.", func(s *snapshot) float64 { return float64(s.hub.Ahead) })
	gauge("hubbub_delivery_backlog_bytes", "Messages that the event loops have yet to take.", func(s *snapshot) float64 { return float64(s.hub.Backlog) })
	gauge("hubbub_write_queue_messages", "Messages waiting to be stored.", func(s *snapshot) float64 { return float64(s.queue.Records) })
	gauge("hubbub_write_queue_bytes", "Their bytes.", func(s *snapshot) float64 { return float64(s.queue.Bytes) })

	counter("hubbub_accepted_total", "Sockets accepted.", func(s *snapshot) uint64 { return s.net.Accepted })
	counter("hubbub_handshakes_total", "WebSocket handshakes completed.", func(s *snapshot) uint64 { return s.net.Handshakes })
	counter("hubbub_received_bytes_total", "Bytes read from WebSocket connections.", func(s *snapshot) uint64 { return s.net.BytesIn })
	counter("hubbub_sent_bytes_total", "Bytes written to WebSocket connections.", func(s *snapshot) uint64 { return s.net.BytesOut })
	counter("hubbub_reads_total", "read(2) calls that moved bytes.", func(s *snapshot) uint64 { return s.net.Reads })
	counter("hubbub_writes_total", "write(2) calls that moved bytes.", func(s *snapshot) uint64 { return s.net.Writes })
	counter("hubbub_received_messages_total", "WebSocket messages received.", func(s *snapshot) uint64 { return s.net.MessagesIn })
	counter("hubbub_deliveries_total", "Publications times the members they were delivered to.", func(s *snapshot) uint64 { return s.hub.Deliveries })
	counter("hubbub_delivery_passes_total", "Passes over a room's members; deliveries per pass and member show the coalescing.", func(s *snapshot) uint64 { return s.hub.Passes })
	counter("hubbub_blocked_total", "Times a socket's send buffer was full.", func(s *snapshot) uint64 { return s.net.Blocked })

	drop := func(reason string, value func(*snapshot) uint64) {
		r.descs = append(r.descs, figure{
			prometheus.NewDesc("hubbub_drops_total", "What was turned away or cut off, by reason.", nil, prometheus.Labels{"reason": reason}),
			prometheus.CounterValue, func(s *snapshot) float64 { return float64(value(s)) },
		})
	}
	drop("server_full", func(s *snapshot) uint64 { return s.net.Refused })         // sockets answered 503
	drop("bad_handshake", func(s *snapshot) uint64 { return s.net.BadHandshakes }) // refused, malformed or timed out
	drop("slow_member", func(s *snapshot) uint64 { return s.hub.Slow })            // closed because it did not read
	drop("overload", func(s *snapshot) uint64 { return s.hub.Refused })            // publishes refused because delivery is behind
	drop("write_queue_full", func(s *snapshot) uint64 { return s.queue.Refused })  // publishes refused because storing is behind
	drop("write_stalled", func(s *snapshot) uint64 { return s.queue.Stalled })     // publishes refused because nothing becomes durable
	drop("panic", func(s *snapshot) uint64 { return s.net.Panics })                // connections ended by a bug of ours
	return r
}

// Describe implements prometheus.Collector.
func (r *reader) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range r.descs {
		ch <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (r *reader) Collect(ch chan<- prometheus.Metric) {
	s := &snapshot{Sources: r.src, net: r.src.Net(), hub: r.src.Hub(), queue: r.src.Queue(), conns: r.src.Conns()}
	for _, f := range r.descs {
		ch <- prometheus.MustNewConstMetric(f.desc, f.kind, f.value(s))
	}
}
