// Package kafka is the log: a message that Kafka has is durable, long before
// it is in a database.
package kafka
