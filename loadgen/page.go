package main

import "github.com/centrifugal/protocol"

// page is a part of a room's history that a member asks for.
type page struct {
	since   uint64 // from behind this offset; backwards, from before it
	limit   int32
	reverse bool
}

func (p *page) command(c *client, id uint32) *protocol.Command {
	return &protocol.Command{Id: id, History: &protocol.HistoryRequest{
		Channel: c.part.Room.Name, Limit: p.limit, Reverse: p.reverse,
		Since: &protocol.StreamPosition{Offset: p.since, Epoch: c.epoch},
	}}
}
