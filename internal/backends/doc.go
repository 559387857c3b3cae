// Package backends runs the real servers that tests need: Redis (alone, as a
// cluster, under Sentinel), MariaDB, Kafka and nginx, each on free ports of
// 127.0.0.1 and in a directory of its own. Only tests import it. It needs the
// standard library alone.
//
//	redis := backends.Redis(t)
//	client := dial(redis.Addr)
//	redis.Kill9()
//	redis.Start()
//
// Its nouns: a process (a child that can be stopped, killed, paused and
// started again, with the same ports and data), and on top of it RedisServer,
// RedisCluster, Sentinel, MySQLServer, VitessServer, KafkaServer and
// NginxServer.
//
// A server ends with its test, also when the test binary panics, is killed or
// runs into its time limit, see Process. No goroutine stays behind a call here,
// so goleak sees none. MySQL(t) alone is shared by the tests of one binary: each
// test has an empty database of its own there.
//
// HUBBUB_TEST_REDIS (HOST:PORT), HUBBUB_TEST_KAFKA (HOST:PORT) and
// HUBBUB_TEST_MYSQL (USER:PASSWORD@tcp(HOST:PORT)/, may create databases) name
// servers to use in place of own ones. They are shared by everything that runs:
// a test names its rooms and topics so that no other test has them. A test that
// stops a server, or starts it with arguments, has its own all the same.
//
// With HUBBUB_TEST_DB=mysql, MySQL and OwnMySQL start real MySQL, as
// scripts/install-mysql fetches it, and MariaDB otherwise. With
// HUBBUB_TEST_DB=vitess, MySQL gives keyspaces of two shards of a Vitess, as
// scripts/install-vtcombo builds it, and OwnMySQL is real MySQL. OwnDatabase is
// whichever it is, and OwnVitess a Vitess in any case.
//
// Where a program is missing the test is skipped, with a line that says how to
// get it; with CI=true it fails. scripts/install-services installs everything.
//
// NewProxy is an address behind which servers can change, NewDisk a disk that can be
// filled.
//
// Caveats. Linux only. Methods are for one goroutine at a time, and end the test
// when they fail: call them on the test's goroutine.
package backends
