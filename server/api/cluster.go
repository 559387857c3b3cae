package api

import (
	"context"

	"github.com/hubbub-chat/hubbub/server/sessions"
)

// Cluster is all nodes, this one among them.
type Cluster interface {
	// Order has an order carried out by every node, and returns when all that
	// live have done so. The error is for whoever gave the order: it names the
	// nodes that had not when ctx ended.
	Order(ctx context.Context, o sessions.Order) error
	// Nodes tells of the nodes that live.
	Nodes(ctx context.Context) ([]Node, error)
}

// alone is the cluster of one node.
type alone struct{ api *API }

// Order implements Cluster. An order cannot be taken back: one that ctx does
// not wait for ends by itself.
func (n alone) Order(ctx context.Context, o sessions.Order) error {
	failed, err := within(ctx, func() error { return n.api.cfg.Sessions.Apply(o) })
	if err != nil {
		return err
	}
	return failed
}

// Nodes implements Cluster.
func (n alone) Nodes(ctx context.Context) ([]Node, error) {
	self, err := within(ctx, func() Node { return n.api.Node(0) })
	return []Node{self}, err
}
