// Package cluster proves from outside that several processes are one server:
// real nodes behind the real nginx with the configuration that is shipped, on
// real Redis, Kafka and MariaDB (or what HUBBUB_TEST_DB says), while parts of it are
// killed and started again.
// There is nothing here but tests.
//
// HUBBUB_BIN names the server, which has the load generator beside it; without it the tests
// build both. What internal/backends
// cannot start is left out, with a line that says so.
package cluster
