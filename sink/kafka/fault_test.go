package kafka

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A broker in this process, which can be told to fail: for what a real one
// does too rarely.
func fakeBroker(t *testing.T, opts ...kfake.Opt) (*kfake.Cluster, Config) {
	t.Helper()
	c, err := kfake.NewCluster(append(opts, kfake.NumBrokers(1))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, Config{Brokers: c.ListenAddrs(), Topic: topicOf(t), Partitions: 3}
}

// Whatever a broker answers, a record is produced until it is there.
func TestRefusedRecords(t *testing.T) {
	for _, refusal := range []*kerr.Error{
		kerr.TopicAuthorizationFailed, // not retried by the client: it fails the partition
		kerr.ClusterAuthorizationFailed,
		kerr.PolicyViolation,
		kerr.InvalidRecord,
		kerr.UnknownServerError,
		kerr.MessageTooLarge, // of a batch, although each of its records would fit
		kerr.NotEnoughReplicas,
		kerr.NotEnoughReplicasAfterAppend, // it is there, and the answer says otherwise
		kerr.RequestTimedOut,
		kerr.UnknownTopicOrPartition,
		kerr.NotLeaderForPartition,
		kerr.InvalidProducerEpoch,
		kerr.OutOfOrderSequenceNumber,
		kerr.KafkaStorageError,
	} {
		t.Run(refusal.Message, func(t *testing.T) {
			broker, cfg := fakeBroker(t)
			var failed atomic.Int64
			cfg.Failed = func(error) { failed.Add(1) }
			p := openProducer(t, cfg)
			broker.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: refusal, Count: 4})
			const total = 300
			var calls [total]atomic.Int32
			for i := range total {
				p.Produce(message(fmt.Sprint("room", i%10), i), func(err error) {
					if err != nil {
						t.Error(err)
					}
					calls[i].Add(1)
				})
			}
			mustClose(t, p)
			for i := range calls {
				if n := calls[i].Load(); n != 1 {
					t.Errorf("message %d: done was called %d times", i, n)
				}
			}
			cfg.Topic = p.cfg.Topic
			readAll(t, cfg, total)
			t.Logf("%d produced again, told %d times", p.Stats().Retried, failed.Load())
		})
	}
}

// Records that wait to be produced again hear of the end, too.
func TestCloseWhileRefused(t *testing.T) {
	broker, cfg := fakeBroker(t)
	p := openProducer(t, cfg)
	broker.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	var done atomic.Int64
	for i := range 100 {
		p.Produce(message("r", i), func(err error) {
			if err == nil {
				t.Error("no error")
			}
			done.Add(1)
		})
	}
	for p.Stats().Retried == 0 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := p.Close(ctx); err == nil {
		t.Error("Close: no error")
	}
	if done.Load() != 100 {
		t.Errorf("%d of 100 heard of it", done.Load())
	}
}

func TestLogins(t *testing.T) {
	for _, way := range []struct{ name, method string }{{Plain, "PLAIN"}, {ScramSHA256, "SCRAM-SHA-256"}, {ScramSHA512, "SCRAM-SHA-512"}} {
		t.Run(way.name, func(t *testing.T) {
			_, cfg := fakeBroker(t, kfake.EnableSASL(), kfake.Superuser(way.method, "alice", "open"))
			cfg.Create, cfg.SASL, cfg.User, cfg.Password = true, way.name, "alice", "sesame"
			if _, err := Open(t.Context(), cfg); err == nil { // which error, a real broker shows: see TestOpenErrors
				t.Error("a wrong password: no error")
			}
			cfg.Password = "open"
			mustProduce(t, openProducer(t, cfg))
		})
	}
}

func TestTLS(t *testing.T) {
	certificate, roots := selfSigned(t)
	_, cfg := fakeBroker(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}))
	cfg.Create, cfg.TLS = true, tlsConfig()
	if _, err := Open(t.Context(), cfg); !errors.Is(err, ErrUnreachable) {
		t.Errorf("a certificate of nobody known: %v, want ErrUnreachable", err)
	}
	cfg.TLS.RootCAs = roots
	mustProduce(t, openProducer(t, cfg))
}

func mustProduce(t *testing.T, p *Producer) {
	t.Helper()
	done := make(chan error, 1)
	p.Produce(message("r", 1), func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// selfSigned is a certificate for 127.0.0.1, and who believes it.
func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}
