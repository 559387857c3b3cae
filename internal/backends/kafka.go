package backends

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// KafkaVersion is the version that scripts/install-services fetches; see
// scripts/kafka/pom.xml.
const KafkaVersion = "4.1.1"

// KafkaServer is one Kafka broker in KRaft mode, which is its own controller.
type KafkaServer struct {
	*Process
	Addr string
}

// Kafka starts a broker, with further settings as lines of server.properties
// ("message.max.bytes=1000"), or gives that of HUBBUB_TEST_KAFKA where there are
// none; that one cannot be stopped, see OwnKafka. Topics have to be created.
func Kafka(t testing.TB, settings ...string) *KafkaServer {
	t.Helper()
	if addr := os.Getenv("HUBBUB_TEST_KAFKA"); addr != "" && len(settings) == 0 {
		return &KafkaServer{Process: foreign(t, "Kafka"), Addr: addr}
	}
	return OwnKafka(t, settings...)
}

// OwnKafka starts a broker of the test's own.
func OwnKafka(t testing.TB, settings ...string) *KafkaServer {
	t.Helper()
	java, home := Program(t, "java"), kafkaHome(t)
	s := &KafkaServer{Process: newProcess(t, "kafka", java), Addr: Addr(t)}
	// Formatted once, by the installation: the JVM that it takes costs more than
	// all the rest. One broker has nobody to be told apart from.
	data := filepath.Join(s.dir, "data")
	if err := os.CopyFS(data, os.DirFS(filepath.Join(home, "formatted"))); err != nil {
		t.Fatal(err)
	}
	controller := Addr(t)
	properties := strings.Join(append([]string{
		"process.roles=broker,controller", "node.id=1", "log.dirs=" + data,
		"listeners=PLAINTEXT://" + s.Addr + ",CONTROLLER://" + controller,
		"advertised.listeners=PLAINTEXT://" + s.Addr,
		"controller.listener.names=CONTROLLER", "controller.quorum.voters=1@" + controller,
		"auto.create.topics.enable=false",
		"offsets.topic.replication.factor=1", "offsets.topic.num.partitions=1",
		"transaction.state.log.replication.factor=1", "transaction.state.log.num.partitions=1", "transaction.state.log.min.isr=1",
		"share.coordinator.state.topic.replication.factor=1", "share.coordinator.state.topic.num.partitions=1",
		"share.coordinator.state.topic.min.isr=1",
		"group.initial.rebalance.delay.ms=0",
		// A broker that was killed is let in again when its old session has ended.
		"broker.session.timeout.ms=3000", "broker.heartbeat.interval.ms=200",
		"log.cleaner.dedupe.buffer.size=8388608",
	}, settings...), "\n") + "\n"
	config := filepath.Join(s.dir, "server.properties")
	if err := os.WriteFile(config, []byte(properties), 0o600); err != nil {
		t.Fatal(err)
	}
	// The quick compiler alone: a broker of a test starts more often than it is hot.
	s.args = []string{"-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dlog4j2.configurationFile=" + filepath.Join(home, "log4j2.properties"),
		"-cp", filepath.Join(home, "jars", "*"), "kafka.Kafka", config}
	s.ready = s.answers
	s.untilEnd()
	return s
}

// kafkaHome is where scripts/install-services keeps Kafka.
func kafkaHome(t testing.TB) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		leaveOut(t, "Kafka has no place: "+err.Error())
	}
	home := filepath.Join(cache, "hubbub", "kafka-"+KafkaVersion)
	if _, err := os.Stat(filepath.Join(home, "formatted", "meta.properties")); err != nil {
		leaveOut(t, "Kafka "+KafkaVersion+" is not installed")
	}
	return home
}

// answers returns nil when the broker says what requests it knows, which it
// does not before it is ready for the others.
func (s *KafkaServer) answers() error {
	c, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	const apiVersions, correlation, noClient = 18, 1, 0xffff
	request := binary.BigEndian.AppendUint32(nil, 10) // bytes that follow
	request = binary.BigEndian.AppendUint16(request, apiVersions)
	request = binary.BigEndian.AppendUint16(request, 0)
	request = binary.BigEndian.AppendUint32(request, correlation)
	request = binary.BigEndian.AppendUint16(request, noClient)
	if _, err := c.Write(request); err != nil {
		return err
	}
	var reply [8]byte
	if _, err := io.ReadFull(c, reply[:]); err != nil {
		return err
	}
	if binary.BigEndian.Uint32(reply[4:]) != correlation {
		return errors.New("this is not Kafka's protocol")
	}
	return nil
}
