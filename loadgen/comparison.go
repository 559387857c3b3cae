package main

// comparison goes through a history beside the list of what was acknowledged,
// both by offset.
type comparison struct {
	run     string
	payload sizes
	acked   []entry // those not passed yet
	last    uint64
	ids     map[uint64]struct{}
	kept
}

func newComparison(run string, payload sizes, m *room) *comparison {
	c := &comparison{run: run, payload: payload, acked: m.acked(), ids: map[uint64]struct{}{}}
	c.Rooms, c.Acked = 1, uint64(len(c.acked))
	return c
}

// from is the first offset to look at; some says that there is something to be
// found at all.
func (c *comparison) from() (offset uint64, some bool) {
	if len(c.acked) == 0 {
		return 0, false
	}
	return c.acked[0].offset, true
}

func (c *comparison) see(offset uint64, data []byte) {
	c.Messages++
	if offset <= c.last {
		c.Order++
		return
	}
	c.last = offset
	said, ok := parsePayload(data, c.run, c.payload)
	if !ok {
		c.Other++
		return
	}
	if _, twice := c.ids[said.id()]; twice {
		c.Twice++
	}
	c.ids[said.id()] = struct{}{}
	for len(c.acked) > 0 && c.acked[0].offset < offset {
		c.Missing++
		c.acked = c.acked[1:]
	}
	if len(c.acked) > 0 && c.acked[0].offset == offset {
		if c.acked[0].id != said.id() {
			c.Other++
		}
		c.acked = c.acked[1:]
	}
}

func (c *comparison) end() { c.Missing += uint64(len(c.acked)) }
