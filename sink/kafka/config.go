package kafka

import (
	"crypto/tls"
	"time"
)

// The ways to tell a broker who one is.
const (
	Plain       = "plain"
	ScramSHA256 = "scram-sha-256"
	ScramSHA512 = "scram-sha-512"
)

// Config says where the log is. The zero value of a number means its default.
type Config struct {
	Brokers  []string    // host:port; one that answers is enough
	TLS      *tls.Config // nil: none
	SASL     string      // one of the ways above; empty: none
	User     string
	Password string

	// Topic is created where it is missing, if Create allows it, with so many
	// partitions and replicas. What exists is taken as it is: a room is in
	// the partition its name hashes to, so the number is for good.
	Topic       string // default hubbub.messages
	Dead        string // where records go that cannot be stored, default Topic + ".dead"
	Create      bool
	Partitions  int32 // default 12
	Replication int16 // default 1

	// What may be under way to the brokers.
	MaxRecords int           // default 65,536
	MaxBytes   int           // by Message.Size, default 64 MiB
	MaxAge     time.Duration // of the oldest record, above which new ones are refused; default 2 s
	Linger     time.Duration // default 0: batches form by draining

	// MaxMessage bounds Message.Size from the store's side; 0: the topic alone.
	MaxMessage int
}
