package check

// Comparison goes through a history beside the list of what was acknowledged,
// both by offset.
type Comparison struct {
	run     string
	payload Sizes
	acked   []Entry // those not passed yet
	last    uint64
	ids     map[uint64]struct{}
	Kept
}

// NewComparison begins one of a room of which so much was acknowledged.
func NewComparison(run string, payload Sizes, acked []Entry) *Comparison {
	c := &Comparison{run: run, payload: payload, acked: acked, ids: map[uint64]struct{}{}}
	c.Rooms, c.Acked = 1, uint64(len(c.acked))
	return c
}

// From is the first offset to look at; some says that there is something to be
// found at all.
func (c *Comparison) From() (offset uint64, some bool) {
	if len(c.acked) == 0 {
		return 0, false
	}
	return c.acked[0].Offset, true
}

// See takes the next message of the history.
func (c *Comparison) See(offset uint64, data []byte) {
	c.Messages++
	if offset <= c.last {
		c.Order++
		return
	}
	c.last = offset
	said, ok := ParsePayload(data, c.run, c.payload)
	if !ok {
		c.Other++
		return
	}
	if _, twice := c.ids[said.ID()]; twice {
		c.Twice++
	}
	c.ids[said.ID()] = struct{}{}
	for len(c.acked) > 0 && c.acked[0].Offset < offset {
		c.Missing++
		c.acked = c.acked[1:]
	}
	if len(c.acked) > 0 && c.acked[0].Offset == offset {
		if c.acked[0].ID != said.ID() {
			c.Other++
		}
		c.acked = c.acked[1:]
	}
}

// End is told when the history is over.
func (c *Comparison) End() { c.Missing += uint64(len(c.acked)) }
