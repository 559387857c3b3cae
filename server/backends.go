package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"

	fromfile "github.com/hubbub-chat/hubbub/internal/secret"
	"github.com/hubbub-chat/hubbub/sink"
	"github.com/hubbub-chat/hubbub/sink/kafka"
)

// kafkaFlags are the settings of the log, the same for every command that
// uses it.
type kafkaFlags struct {
	Kafka             []string `placeholder:"HOST:PORT" help:"Kafka brokers; one that answers is enough. With them a message is durable when Kafka has it. Empty: no log."`
	KafkaTopic        string   `default:"hubbub.messages" placeholder:"NAME" help:"Topic of the messages. What cannot be stored goes to NAME.dead. Default: ${default}."`
	KafkaCreate       bool     `default:"true" negatable:"" help:"Create the topics where they are missing. Default: ${default}."`
	KafkaPartitions   int32    `default:"12" placeholder:"N" help:"Partitions of a topic that is created; how many writers can share the work. Default: ${default}."`
	KafkaReplication  int16    `default:"1" placeholder:"N" help:"Replicas of a topic that is created. From 3 on it gets min.insync.replicas=2: then the loss of one machine loses nothing that was acknowledged. Default: ${default}."`
	KafkaTLS          bool     `name:"kafka-tls" help:"Talk TLS to the brokers."`
	KafkaCA           string   `name:"kafka-ca" placeholder:"FILE" help:"PEM file with the authorities that sign the brokers' certificates; implies --kafka-tls. Empty: the system's."`
	KafkaSASL         string   `name:"kafka-sasl" placeholder:"NAME" help:"How to log in: plain, scram-sha-256 or scram-sha-512. Empty: not at all."`
	KafkaUser         string   `placeholder:"NAME" help:"Who logs in."`
	KafkaPasswordFile string   `placeholder:"FILE" help:"File with the password. The environment variable HUBBUB_KAFKA_PASSWORD does as well; there is no flag for it, since every user of a machine can read those."`
}

// kafkaPasswordEnv is a setting that has no flag.
const kafkaPasswordEnv = envPrefix + "KAFKA_PASSWORD"

// mysqlFlags are the settings of the database, the same for every command
// that uses it.
type mysqlFlags struct {
	MySQL      string `name:"mysql" env:"HUBBUB_MYSQL" placeholder:"DSN" help:"MySQL, MariaDB or PlanetScale: user:password@tcp(host:3306)/database?tls=true, or file:PATH of a file that says so. Empty: none."`
	MySQLCA    string `name:"mysql-ca" env:"HUBBUB_MYSQL_CA" placeholder:"FILE" help:"PEM file with the authorities that sign the database's certificate; implies TLS. Empty: the system's."`
	MySQLConns int    `name:"mysql-conns" env:"HUBBUB_MYSQL_CONNS" default:"4" placeholder:"N" help:"Reads of the database at once; two more connections write, and one sees whether it answers. Default: ${default}."`
}

// topicName is what Kafka allows, and leaves room for what is added to it.
var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,230}$`)

// Validate reports the first value that cannot be meant.
func (f *kafkaFlags) Validate() error {
	_, err := f.kafkaConfig()
	return err
}

// kafkaConfig reads the files that the flags name.
func (f *kafkaFlags) kafkaConfig() (c kafka.Config, err error) {
	if len(f.Kafka) == 0 {
		return c, f.withoutKafka()
	}
	for _, broker := range f.Kafka {
		if host, port, err := net.SplitHostPort(broker); err != nil || host == "" || port == "" {
			return c, fmt.Errorf("--kafka %q is not HOST:PORT", broker)
		}
	}
	switch {
	case !topicName.MatchString(f.KafkaTopic):
		return c, fmt.Errorf("--kafka-topic %q is not 1 to 230 of letters, digits, '.', '_' and '-'", f.KafkaTopic)
	case f.KafkaPartitions < 1 || f.KafkaPartitions > 10_000:
		return c, fmt.Errorf("--kafka-partitions %d is not between 1 and 10000", f.KafkaPartitions)
	case f.KafkaReplication < 1 || f.KafkaReplication > 100:
		return c, fmt.Errorf("--kafka-replication %d is not between 1 and 100", f.KafkaReplication)
	}
	c = kafka.Config{
		Brokers: f.Kafka, Topic: f.KafkaTopic, Create: f.KafkaCreate,
		Partitions: f.KafkaPartitions, Replication: f.KafkaReplication,
		SASL: f.KafkaSASL, User: f.KafkaUser,
	}
	if c.Password, err = f.password(); err != nil {
		return c, err
	}
	if f.KafkaTLS || f.KafkaCA != "" {
		c.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		c.TLS.RootCAs, err = authorities("--kafka-ca", f.KafkaCA)
	}
	return c, err
}

// kafkaError names the setting that an error of the brokers is about.
func kafkaError(err error) error {
	setting := "--kafka"
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kafka.ErrLogin):
		setting = "--kafka-user and --kafka-password-file"
	case errors.Is(err, kafka.ErrNoTopic), errors.Is(err, kafka.ErrSettings):
		setting = "--kafka-topic"
	case errors.Is(err, kafka.ErrCreate):
		setting = "--kafka-topic, --kafka-partitions and --kafka-replication"
	}
	return fmt.Errorf("%s: %w", setting, err)
}

// withoutKafka reports what has no meaning without brokers.
func (f *kafkaFlags) withoutKafka() error {
	if f.KafkaTLS || f.KafkaCA != "" || f.KafkaSASL != "" || f.KafkaUser != "" || f.KafkaPasswordFile != "" {
		return errors.New("--kafka is needed for the other --kafka- settings to mean something")
	}
	return nil
}

// password returns what to log in with, once the settings agree about it.
func (f *kafkaFlags) password() (string, error) {
	secret := os.Getenv(kafkaPasswordEnv)
	if f.KafkaPasswordFile != "" {
		var err error
		if secret, err = fromfile.Read(f.KafkaPasswordFile); err != nil {
			return "", fmt.Errorf("--kafka-password-file: %w", err)
		}
	}
	switch f.KafkaSASL {
	case "":
		if f.KafkaUser != "" || f.KafkaPasswordFile != "" {
			return "", errors.New("--kafka-user and its password have no meaning without --kafka-sasl")
		}
		return "", nil
	case kafka.Plain, kafka.ScramSHA256, kafka.ScramSHA512:
	default:
		return "", fmt.Errorf("--kafka-sasl %q is not plain, scram-sha-256 or scram-sha-512", f.KafkaSASL)
	}
	if f.KafkaUser == "" {
		return "", errors.New("--kafka-user is needed with --kafka-sasl")
	}
	if secret == "" {
		return "", errors.New("--kafka-password-file (or HUBBUB_KAFKA_PASSWORD) is needed with --kafka-sasl")
	}
	return secret, nil
}

// Validate reports the first value that cannot be meant.
func (f *mysqlFlags) Validate() error {
	c, err := f.mysqlConfig()
	if err == nil && f.MySQL != "" {
		err = c.Validate()
		if err != nil {
			err = fmt.Errorf("--mysql: %w", err)
		}
	}
	return err
}

// mysqlConfig reads the files that the flags name.
func (f *mysqlFlags) mysqlConfig() (c sink.MySQLConfig, err error) {
	if f.MySQL == "" {
		if f.MySQLCA != "" {
			return c, errors.New("--mysql is needed for --mysql-ca to mean something")
		}
		return c, nil
	}
	if f.MySQLConns < 1 || f.MySQLConns > 1000 {
		return c, fmt.Errorf("--mysql-conns %d is not between 1 and 1000", f.MySQLConns)
	}
	c = sink.MySQLConfig{DSN: f.MySQL, ReadConns: f.MySQLConns}
	if c.DSN, err = fromfile.Resolve(f.MySQL); err != nil {
		return c, fmt.Errorf("--mysql: %w", err)
	}
	c.DSN = strings.TrimSpace(c.DSN)
	c.RootCAs, err = authorities("--mysql-ca", f.MySQLCA)
	return c, err
}

// authorities reads certificates; no file stands for the system's.
func authorities(flag, path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s: %s has no certificate in PEM", flag, path)
	}
	return pool, nil
}
