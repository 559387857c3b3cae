package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/sink/kafka"
)

func TestKafkaFlags(t *testing.T) {
	good := func() kafkaFlags {
		return kafkaFlags{Kafka: []string{"a:9092", "b:9092"}, KafkaTopic: "t", KafkaPartitions: 12, KafkaReplication: 1}
	}
	dir := t.TempDir()
	secret, empty := filepath.Join(dir, "secret"), filepath.Join(dir, "empty")
	for name, text := range map[string]string{secret: "sesame\n", empty: "\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		change func(*kafkaFlags)
		want   string // in the error; empty: none
	}{
		{"good", func(*kafkaFlags) {}, ""},
		{"none", func(f *kafkaFlags) { *f = kafkaFlags{} }, ""},
		{"no port", func(f *kafkaFlags) { f.Kafka = []string{"a"} }, `--kafka "a" is not HOST:PORT`},
		{"topic", func(f *kafkaFlags) { f.KafkaTopic = "a b" }, `--kafka-topic "a b"`},
		{"partitions", func(f *kafkaFlags) { f.KafkaPartitions = 0 }, "--kafka-partitions 0"},
		{"replication", func(f *kafkaFlags) { f.KafkaReplication = -1 }, "--kafka-replication -1"},
		{"SASL", func(f *kafkaFlags) {
			f.KafkaSASL, f.KafkaUser, f.KafkaPasswordFile = kafka.ScramSHA256, "u", secret
		}, ""},
		{"unknown SASL", func(f *kafkaFlags) { f.KafkaSASL = "gssapi" }, `--kafka-sasl "gssapi"`},
		{"SASL without user", func(f *kafkaFlags) { f.KafkaSASL = kafka.Plain }, "--kafka-user is needed"},
		{"SASL without password", func(f *kafkaFlags) { f.KafkaSASL, f.KafkaUser = kafka.Plain, "u" }, "--kafka-password-file"},
		{"SASL with an empty file", func(f *kafkaFlags) {
			f.KafkaSASL, f.KafkaUser, f.KafkaPasswordFile = kafka.Plain, "u", empty
		}, "--kafka-password-file: "},
		{"user without SASL", func(f *kafkaFlags) { f.KafkaUser = "u" }, "have no meaning without --kafka-sasl"},
		{"no such CA", func(f *kafkaFlags) { f.KafkaCA = filepath.Join(dir, "none") }, "--kafka-ca: "},
		{"CA that is none", func(f *kafkaFlags) { f.KafkaCA = secret }, "has no certificate"},
		{"CA without brokers", func(f *kafkaFlags) { *f = kafkaFlags{KafkaCA: secret} }, "--kafka is needed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := good()
			c.change(&f)
			checkError(t, f.Validate(), c.want)
		})
	}
	t.Run("what they say", func(t *testing.T) {
		f := good()
		f.KafkaSASL, f.KafkaUser, f.KafkaPasswordFile, f.KafkaTLS = kafka.Plain, "u", secret, true
		c, err := f.kafkaConfig()
		if err != nil || c.Password != "sesame" || c.User != "u" || c.TLS == nil || len(c.Brokers) != 2 || c.Topic != "t" {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

func TestMySQLFlags(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "dsn")
	if err := os.WriteFile(file, []byte("u:sesame@tcp(h:1)/d\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		flags mysqlFlags
		want  string
	}{
		{"none", mysqlFlags{MySQLConns: 4}, ""},
		{"good", mysqlFlags{MySQL: "u:p@tcp(h:1)/d", MySQLConns: 4}, ""},
		{"file", mysqlFlags{MySQL: "file:" + file, MySQLConns: 4}, ""},
		{"no such file", mysqlFlags{MySQL: "file:" + file + "x", MySQLConns: 4}, "--mysql: open "},
		{"not a DSN", mysqlFlags{MySQL: "u:sesame@h/d", MySQLConns: 4}, "--mysql: the DSN is not of the form"},
		{"no connections", mysqlFlags{MySQL: "u:p@tcp(h:1)/d"}, "--mysql-conns 0"},
		{"CA without database", mysqlFlags{MySQLCA: file, MySQLConns: 4}, "--mysql is needed"},
		{"CA that is none", mysqlFlags{MySQL: "u:p@tcp(h:1)/d", MySQLCA: file, MySQLConns: 4}, "--mysql-ca: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.flags.Validate()
			checkError(t, err, c.want)
			if err != nil && strings.Contains(err.Error(), "sesame") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

// checkError wants an error of one line that contains want, or none.
func checkError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case err == nil && want == "":
	case err == nil || want == "" || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n"):
		t.Errorf("error %v, want %q", err, want)
	}
}

func TestMigrateCommand(t *testing.T) {
	server := backends.MySQL(t)
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no database", []string{"migrate"}, 2, "--mysql is needed"},
		{"bad DSN", []string{"migrate", "--mysql", "sesame"}, 2, "--mysql: the DSN is not of the form"},
		{"unreachable", []string{"migrate", "--mysql", "u:sesame@tcp(127.0.0.1:1)/d"}, 1, "--mysql: database d at 127.0.0.1:1: "},
		{"good", []string{"migrate", "--mysql", server.DSN}, 0, ""},
		{"again", []string{"migrate", "--mysql", server.DSN}, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(c.args, &stdout, &stderr); code != c.code {
				t.Errorf("code %d, want %d: %s", code, c.code, stderr.String())
			}
			if got := stderr.String(); !strings.Contains(got, c.want) || strings.Contains(got, "sesame") || strings.Count(got, "\n") > 1 {
				t.Errorf("stderr %q, want one line with %q", got, c.want)
			}
		})
	}
}
