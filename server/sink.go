package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/hubbub-chat/hubbub/fanout/redis"
	"github.com/hubbub-chat/hubbub/internal/process"
	"github.com/hubbub-chat/hubbub/server/metrics"
	"github.com/hubbub-chat/hubbub/sink"
	"github.com/hubbub-chat/hubbub/sink/kafka"
	"github.com/hubbub-chat/hubbub/sink/writer"
)

// sinkCmd is all settings of a process that writes what is in Kafka to MySQL,
// as every node does that is not told otherwise.
type sinkCmd struct {
	Addr string `default:":8010" placeholder:"HOST:PORT" help:"TCP address of /metrics, /healthz and /readyz. Default: ${default}."`
	kafkaFlags
	mysqlFlags
	redisFlags
	LogLevel zapcore.Level `default:"info" placeholder:"LEVEL" help:"debug, info, warn or error. Default: ${default}."`
}

// Validate reports the first value that cannot be meant.
func (c *sinkCmd) Validate() error {
	if _, _, err := net.SplitHostPort(c.Addr); err != nil {
		return fmt.Errorf("--addr %q is not HOST:PORT", c.Addr)
	}
	switch {
	case len(c.Kafka) == 0:
		return errors.New("--kafka is needed: where are the messages?")
	case c.MySQL == "":
		return errors.New("--mysql is needed: where are the messages to go?")
	}
	if err := c.kafkaFlags.Validate(); err != nil {
		return err
	}
	if err := c.mysqlFlags.Validate(); err != nil {
		return err
	}
	_, err := c.redisConfig()
	return err
}

// Run implements the sink command: it returns when a signal, or the end of the
// terminal, has ended the process. A second signal ends the program at once.
func (c *sinkCmd) Run() error {
	if err := c.Validate(); err != nil {
		return usageError{err}
	}
	log, err := (&serveCmd{LogLevel: c.LogLevel}).logger()
	if err != nil {
		return usageError{err}
	}
	defer log.Sync() //nolint:errcheck // stderr cannot be synced everywhere
	signals, stop := process.EndContext(context.Background())
	defer stop()
	s, err := newSinkProcess(signals, *c, log)
	if err != nil {
		return err
	}
	log.Info("writing", append(backEnds(&c.redisFlags, &c.kafkaFlags, &c.mysqlFlags), zap.String("version", version), zap.Stringer("addr", s.addr()))...)
	fmt.Printf("Hubbub's writer is at http://%s/metrics\n", s.addr())
	select {
	case <-signals.Done():
	case err = <-s.failed:
	}
	stop()
	return errors.Join(err, s.stop())
}

// sinkProcess is the sink command as a type: everything between the flags and
// the signal.
type sinkProcess struct {
	log      *zap.Logger
	listener net.Listener
	relay    *redis.Client // nil without --redis
	store    *sink.MySQL
	writer   *writer.Writer
	web      *http.Server
	failed   chan error
	wg       sync.WaitGroup
}

// newSinkProcess connects, binds the address and begins to write. On an error
// nothing stays open.
func newSinkProcess(ctx context.Context, cfg sinkCmd, log *zap.Logger) (_ *sinkProcess, err error) {
	s := &sinkProcess{log: log, failed: make(chan error, 1)}
	defer func() {
		if err != nil {
			_ = s.release() // the error that led here is the one to report
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if s.listener, err = net.Listen("tcp", cfg.Addr); err != nil {
		return nil, fmt.Errorf("--addr %s: %w", cfg.Addr, err)
	}
	my, err := cfg.mysqlConfig()
	if err != nil {
		return nil, err
	}
	my.Log = log
	if s.store, err = sink.OpenMySQL(ctx, my); err != nil {
		return nil, fmt.Errorf("--mysql: %w", err)
	}
	var stream writer.Stream
	if cfg.Redis != "" {
		if s.relay, err = cfg.openRedis(ctx, log, true); err != nil {
			return nil, err
		}
		stream = s.relay
	} else {
		log.Warn("without --redis a message that is missing is not looked for, and a history with a gap stays as it is")
	}
	k, err := cfg.kafkaConfig()
	if err != nil {
		return nil, err
	}
	k.Log = log
	m := metrics.NewSink(version)
	if s.writer, err = openWriter(ctx, k, s.store, stream, log, m.Committed); err != nil {
		return nil, err
	}
	m.Watch(metrics.Backends{
		Store: s.store.Stats, Writer: s.writer.Stats, States: []metrics.Backend{s.store.Contact(), s.writer.Contact()},
	})
	s.web = s.newWeb(m.Handler())
	s.wg.Go(s.serve) // ends when stop shuts the server down
	return s, nil
}

// openWriter starts what writes the log to the database, here or in a node.
func openWriter(ctx context.Context, k kafka.Config, store *sink.MySQL, stream writer.Stream,
	log *zap.Logger, committed func(records int, took time.Duration)) (*writer.Writer, error) {
	w, err := writer.Open(ctx, writer.Config{Kafka: k, Store: store, Stream: stream, Log: log, Observe: committed})
	if err != nil {
		return nil, kafkaError(err)
	}
	return w, nil
}

func (s *sinkProcess) newWeb(scrapes http.Handler) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", scrapes)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := s.writer.Ready(r.Context()); err != nil {
			answer(w, http.StatusServiceUnavailable, err.Error())
		} else {
			answer(w, http.StatusOK, "ready")
		}
	})
	return &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10,
	}
}

func (s *sinkProcess) serve() {
	if err := s.web.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		s.failed <- fmt.Errorf("the server of --addr: %w", err)
	}
}

func (s *sinkProcess) addr() net.Addr { return s.listener.Addr() }

// stop stores the batch under way, gives the partitions to others and returns
// when every goroutine has ended.
func (s *sinkProcess) stop() error {
	s.log.Info("stopping")
	err := s.release()
	s.log.Info("stopped", zap.Error(err))
	return err
}

// release closes what has been opened.
func (s *sinkProcess) release() (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if s.writer != nil {
		err = s.writer.Close(ctx)
	}
	if s.web != nil {
		err = errors.Join(err, s.web.Shutdown(ctx))
	} else if s.listener != nil {
		err = errors.Join(err, s.listener.Close())
	}
	s.wg.Wait()
	if s.relay != nil {
		s.relay.Close()
	}
	if s.store != nil {
		err = errors.Join(err, s.store.Close())
	}
	return err
}
