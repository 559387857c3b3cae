package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hubbub-chat/hubbub/fanout/redis"
)

// Cluster is what a node of a cluster counts beside the rest.
type Cluster struct {
	Redis            redis.Stats
	Connected        bool    // Redis answers, and every primary is listened to
	Writable         bool    // it takes writes
	Streamed, Stored uint64  // questions of history that the stream answered, and that the database was asked
	Oldest           float64 // seconds that the oldest message on its way to being durable has waited
}

func clusterStats(read func() Cluster) prometheus.Collector {
	c := &snapshots[Cluster]{read: read}
	c.gauge("hubbub_redis_up", "1 while Redis answers, if only to refuse, and every primary is listened to.", func(s Cluster) float64 { return flag(s.Connected) })
	c.gauge("hubbub_redis_writable", "1 while every primary takes writes; 0 while messages are refused for that.", func(s Cluster) float64 { return flag(s.Writable) })
	c.gauge("hubbub_cluster_nodes", "Nodes that live, this one among them.", func(s Cluster) float64 { return float64(s.Redis.Peers) })
	c.gauge("hubbub_cluster_isolated", "1 while this node has been without Redis for too long and takes no clients.", func(s Cluster) float64 { return flag(s.Redis.Isolated) })
	c.counter("hubbub_cluster_orders_total", "Orders of the server API, given on any node, that this one has carried out.", func(s Cluster) uint64 { return s.Redis.Orders })
	c.gauge("hubbub_presence_rooms", "Rooms whose presence this node keeps in Redis.", func(s Cluster) float64 { return float64(s.Redis.Present) })
	c.gauge("hubbub_presence_pending", "Clients who have come or gone and are not written yet.", func(s Cluster) float64 { return float64(s.Redis.Pending) })
	c.gauge("hubbub_relay_feeds", "Primaries that are listened to.", func(s Cluster) float64 { return float64(s.Redis.Feeds) })
	c.gauge("hubbub_relay_rooms", "Rooms that are listened to.", func(s Cluster) float64 { return float64(s.Redis.Rooms) })
	c.gauge("hubbub_relay_queue_messages", "Messages waiting for their offset.", func(s Cluster) float64 { return float64(s.Redis.Queued) })
	c.gauge("hubbub_relay_unconfirmed_messages", "Messages that members have seen and that are not durable yet.", func(s Cluster) float64 { return float64(s.Redis.Open) })
	c.gauge("hubbub_write_queue_oldest_seconds", "For how long the oldest of them has waited; above 2 publishes are refused.", func(s Cluster) float64 { return s.Oldest })
	c.counter("hubbub_relay_minted_total", "Messages that got their offset.", func(s Cluster) uint64 { return s.Redis.Minted })
	c.counter("hubbub_relay_duplicates_total", "Messages that were there before, by their key.", func(s Cluster) uint64 { return s.Redis.Duplicates })
	c.counter("hubbub_relay_refused_total", "Messages refused because Redis did not take them, or a room was too busy.", func(s Cluster) uint64 { return s.Redis.Refused })
	c.counter("hubbub_relay_maybe_total", "Messages whose senders were told that nobody knows.", func(s Cluster) uint64 { return s.Redis.Maybe })
	c.counter("hubbub_relay_gaps_total", "Gaps found in rooms, and filled or told.", func(s Cluster) uint64 { return s.Redis.Gaps })
	c.counter("hubbub_relay_unfilled_gaps_total", "Gaps that neither the stream nor the database could fill: the room's members were told to load its history anew.", func(s Cluster) uint64 { return s.Redis.Unfilled })
	c.counter("hubbub_relay_unreadable_total", "Times that a room's stream had entries which cannot be read.", func(s Cluster) uint64 { return s.Redis.Unreadable })
	c.counter("hubbub_relay_resets_total", "Rooms whose members were told to load their history anew: Redis had lost something.", func(s Cluster) uint64 { return s.Redis.Resets })
	c.counter("hubbub_relay_rescued_total", "Messages of dead nodes that were produced again.", func(s Cluster) uint64 { return s.Redis.Rescued })
	c.counter("hubbub_relay_dropped_total", "Payloads that came faster than they were taken, and events that could not be sent.", func(s Cluster) uint64 { return s.Redis.Dropped })
	c.counter("hubbub_history_stream_total", "Questions of history that the stream answered.", func(s Cluster) uint64 { return s.Streamed })
	c.counter("hubbub_history_database_total", "Questions of history that the database was asked.", func(s Cluster) uint64 { return s.Stored })
	return c
}
