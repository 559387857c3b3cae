package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/fanout/redis"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/api"
	"github.com/hubbub-chat/hubbub/server/sessions"
)

// peers is this node among others: the server API asks it for what concerns all
// of them, and the relay asks it what the others are to know and do here.
type peers struct {
	node  *Node
	relay *redis.Relay
}

// Order implements api.Cluster.
func (p peers) Order(ctx context.Context, o sessions.Order) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	err = p.relay.Order(ctx, text)
	if late := (redis.NotApplied{}); errors.As(err, &late) {
		return schema.ErrInternal.Because("not in time on " + some(late.Nodes) + ", where it takes effect as soon as it can")
	}
	if refused := (redis.Refused{}); errors.As(err, &refused) {
		return schema.ErrTooManyRequests.Because("the nodes were not told: Redis refuses writes")
	}
	if errors.Is(err, redis.ErrUnavailable) {
		return schema.ErrInternal.Because("no answer from Redis; it may still take effect")
	}
	return err
}

// some names a few nodes.
func some(names []string) string {
	const few = 10
	if len(names) > few {
		return strings.Join(names[:few], ", ") + " and others"
	}
	return strings.Join(names, ", ")
}

// usersPace is how old the count of users may be that others see: it goes
// through all sessions.
const usersPace = 15 * time.Second

// Nodes implements api.Cluster. Of the others it tells what they last told.
func (p peers) Nodes(context.Context) ([]api.Node, error) {
	var list []api.Node
	here := false
	for _, peer := range p.relay.Peers() {
		n := api.Node{UID: peer.Boot, Name: peer.Name}
		if peer.Boot == p.relay.Boot() {
			here = true
			n = p.node.api.Node(0)
		} else if err := json.Unmarshal(peer.Record, &n); err != nil {
			p.node.log.Warn("a node tells of itself what cannot be read", zap.String("node", peer.Name), zap.Error(err))
		}
		list = append(list, n)
	}
	if !here { // Redis does not know it yet, or not any more
		list = append(list, p.node.api.Node(0))
	}
	return list, nil
}

// Record implements redis.Self.
func (p peers) Record() (name string, record json.RawMessage) {
	n := p.node.api.Node(usersPace)
	record, err := json.Marshal(n)
	if err != nil {
		return n.Name, nil // numbers and strings always encode
	}
	return n.Name, record
}

// Apply implements redis.Self.
func (p peers) Apply(order []byte) {
	var o sessions.Order
	err := json.Unmarshal(order, &o)
	if err == nil {
		err = p.node.sessions.Apply(o)
	}
	if err != nil {
		p.node.log.Warn("an order was not carried out", zap.String("do", string(o.Do)), zap.Error(err))
	}
}

// Contact implements redis.Self: without Redis, clients are better off on
// another node, which orders from the server API reach.
func (p peers) Contact(is bool) {
	p.node.isolated.Store(!is)
	if is {
		p.node.sessions.Gather()
	} else {
		p.node.sessions.Disperse(min(p.node.cfg.Drain, 10*time.Second)) // others wait for this node no longer
	}
}
