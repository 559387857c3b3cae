package main

import (
	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/server/auth"
)

// whoComesIn says in words which clients are let in.
func (c *serveCmd) whoComesIn() string {
	tokens := len(c.TokenKeys) > 0 || c.JWKS != ""
	switch {
	case c.Insecure && tokens && c.Guests:
		return "guests and tokens; everybody may do everything (--insecure)"
	case c.Insecure && tokens:
		return "tokens; everybody may do everything (--insecure)"
	case c.Insecure && c.Guests:
		return "guests; everybody may do everything (--insecure)"
	case tokens:
		return "tokens"
	case c.Guests:
		return "guests"
	}
	return "nobody: no guests (--no-guests), and no --token-key or --jwks"
}

// summary is what an operator wants to see in the first line of the log: who may come in, what is
// behind this node, and which rules hold. It has no secret.
func (c *serveCmd) summary() []zap.Field {
	fields := []zap.Field{
		zap.String("version", version), zap.String("clients", c.whoComesIn()),
		zap.Int("token_keys", len(c.TokenKeys)), zap.String("jwks", auth.SourceName(string(c.JWKS))), zap.Bool("api", len(c.APIKeys) > 0),
	}
	config := c.Config
	if config == "" {
		config = "none: every channel is open to everybody who comes in"
	}
	origins := c.AllowedOrigins
	if len(origins) == 0 {
		origins = []string{"this server's own host"}
	}
	fields = append(fields, zap.String("config", config), zap.Strings("origins", origins))
	if c.MySQL == "" {
		fields = append(fields, zap.String("data", c.Data))
	}
	return append(fields, backEnds(&c.redisFlags, &c.kafkaFlags, &c.mysqlFlags)...)
}

// backEnds names those of a node or writer.
func backEnds(r *redisFlags, k *kafkaFlags, m *mysqlFlags) []zap.Field {
	var redis, mysql string
	if c, err := r.redisConfig(); err == nil && r.Redis != "" { // what is wrong has been told before
		redis = c.Where()
	}
	if c, err := m.mysqlConfig(); err == nil && m.MySQL != "" {
		mysql = c.Where()
	}
	return []zap.Field{zap.String("redis", redis), zap.Strings("kafka", k.Kafka), zap.String("mysql", mysql)}
}
