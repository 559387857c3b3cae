package report

import "github.com/hubbub-chat/hubbub/loadgen/check"

// Counts are numbers of things since the fleet began, unless they say now.
type Counts struct {
	Failed uint64 `json:"failed"` // connections that never joined their room
	Joined uint64 `json:"joined"`
	Closed uint64 `json:"closed"` // memberships that the server or the network ended

	Gone        uint64 `json:"gone"`        // will not come back
	Retried     uint64 `json:"retried"`     // attempts that failed and were made again
	Rejoined    uint64 `json:"rejoined"`    // came back after that
	Unrecovered uint64 `json:"unrecovered"` // of these, were told that they cannot have what they missed

	Sent    uint64 `json:"sent"`    // messages written to a socket
	Acked   uint64 `json:"acked"`   // answered with success
	Refused uint64 `json:"refused"` // answered with an error
	Cut     uint64 `json:"cut"`     // without an answer when their connection ended: stored or not
	Unsent  uint64 `json:"unsent"`  // could not be sent: no connection, or its socket is full
	Late    uint64 `json:"late"`    // of the sent, those that left more than 10 ms after their time

	Delivered uint64 `json:"delivered"` // publications received
	Loaded    uint64 `json:"loaded"`    // of these, read from the history by members that were told to begin anew

	Pages        uint64 `json:"history_pages"` // that members asked for and were given, not those of loads
	PagesWrong   uint64 `json:"history_pages_wrong"`
	PagesRefused uint64 `json:"history_pages_refused"`
	PagesUnsent  uint64 `json:"history_pages_unsent"` // could not be asked for: no connection
	PagesCut     uint64 `json:"history_pages_cut"`    // without an answer when their connection, or the run, ended

	Duplicated uint64 `json:"duplicated"`
	Reordered  uint64 `json:"reordered"`
	Unexpected uint64 `json:"unexpected"`
}

// Add adds others.
func (c *Counts) Add(o *Counts) {
	c.Failed += o.Failed
	c.Joined += o.Joined
	c.Closed += o.Closed
	c.Gone += o.Gone
	c.Retried += o.Retried
	c.Rejoined += o.Rejoined
	c.Unrecovered += o.Unrecovered
	c.Sent += o.Sent
	c.Acked += o.Acked
	c.Refused += o.Refused
	c.Cut += o.Cut
	c.Unsent += o.Unsent
	c.Late += o.Late
	c.Delivered += o.Delivered
	c.Loaded += o.Loaded
	c.Pages += o.Pages
	c.PagesWrong += o.PagesWrong
	c.PagesRefused += o.PagesRefused
	c.PagesUnsent += o.PagesUnsent
	c.PagesCut += o.PagesCut
	c.Duplicated += o.Duplicated
	c.Reordered += o.Reordered
	c.Unexpected += o.Unexpected
}

// Fault counts a verdict.
func (c *Counts) Fault(v check.Verdict) {
	switch v {
	case check.Duplicated:
		c.Duplicated++
	case check.Reordered:
		c.Reordered++
	case check.Unexpected:
		c.Unexpected++
	}
}

// Settled is the number of connections whose beginning is over.
func (c *Counts) Settled() uint64 { return c.Failed + c.Joined }

// Open is the number of connections now in their rooms.
func (c *Counts) Open() uint64 { return c.Joined + c.Rejoined - c.Closed }

// Pending is the number of messages whose answer may still come.
func (c *Counts) Pending() uint64 { return c.Sent - c.Acked - c.Refused - c.Cut }
