package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// exporter serves a run's counts to Prometheus while it goes on, a second old
// at most.
type exporter struct {
	tell   *progress
	server *http.Server
}

// startExporter listens. The goroutine that serves ends with stop.
func startExporter(addr string, tell *progress) (*exporter, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	e := &exporter{tell: tell}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		e.write(w)
	})
	e.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := e.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintf(tell.out, "prometheus endpoint: %v\n", err) // the run goes on without it
		}
	}()
	return e, nil
}

func (e *exporter) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if e.server.Shutdown(ctx) != nil {
		_ = e.server.Close()
	}
}

// write writes the text form. A line that is lost is lost to one scrape.
func (e *exporter) write(w io.Writer) {
	s := e.tell.latest.Load()
	if s == nil {
		return
	}
	one := func(kind, name, help string, v float64) {
		fmt.Fprintf(w, "# HELP loadgen_%s %s\n# TYPE loadgen_%s %s\nloadgen_%s %g\n", name, help, name, kind, name, v)
	}
	gauge := func(name, help string, v float64) { one("gauge", name, help, v) }
	counter := func(name, help string, v uint64) { one("counter", name, help, float64(v)) }
	gauge("connections", "Connections that are members of their room.", float64(s.Open()))
	gauge("unanswered", "Publishes whose answer may still come.", float64(s.Pending()))
	counter("joined_total", "Connections that joined their room.", s.Joined)
	counter("failed_total", "Connections that never did.", s.Failed)
	counter("closed_total", "Memberships that the server or the network ended.", s.Closed)
	counter("rejoined_total", "Members that came back.", s.Rejoined)
	counter("sent_total", "Messages published.", s.Sent)
	counter("acked_total", "Publishes acknowledged.", s.Acked)
	counter("refused_total", "Publishes refused.", s.Refused)
	counter("unsent_total", "Messages that could not be sent.", s.Unsent)
	counter("delivered_total", "Publications received.", s.Delivered)
	counter("faults_total", "Publications duplicated, out of order or unexpected.", s.Duplicated+s.Reordered+s.Unexpected)
	for q, v := range map[string]float64{"0.5": s.Recent.P50, "0.99": s.Recent.P99, "1": s.Recent.Max} {
		fmt.Fprintf(w, "loadgen_delivery_seconds{quantile=%q} %g\n", q, v/1e6)
	}
}
