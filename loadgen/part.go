package main

import (
	"strings"

	"github.com/hubbub-chat/hubbub/loadgen/check"
)

// part is a worker's share of a room: what its members compare with, and what
// they have in common.
type part struct {
	check.Part
	epoch string      // the last that a member was told
	trail check.Trail // what pages of the history are compared with
}

// sameEpoch is the epoch as members share it: there are few, and many members.
func (p *part) sameEpoch(epoch string) string {
	if p.epoch != epoch && plain([]byte(epoch)) { // or it could not be said back as it is
		p.epoch = strings.Clone(epoch)
	}
	return p.epoch
}
