package report

import (
	"fmt"

	"github.com/hubbub-chat/hubbub/schema"
)

// Slow is the slow scenario's part of a report.
type Slow struct {
	SlowResult
	Missing uint64    `json:"missing"`         // of the slow member, at the end
	Before  Quantiles `json:"delivery_before"` // to the others
	During  Quantiles `json:"delivery_during"` // while one does not read
	After   Quantiles `json:"delivery_after"`  // while it recovers, and later
}

// SlowResult is what the sleeper found.
type SlowResult struct {
	CloseCode   int     `json:"close_code"` // 1006: the connection ended without one; 0: it did not end
	CloseReason string  `json:"close_reason,omitempty"`
	Error       string  `json:"error,omitempty"` // why it could not join, or come back
	Before      uint64  `json:"before_offset"`   // the offset it asked to recover from
	Recovered   bool    `json:"recovered"`       // as the reply says
	InReply     int     `json:"publications_in_reply"`
	CaughtUp    float64 `json:"caught_up_s"` // from asking until it had all there was; 0: it never had
	Duplicated  uint64  `json:"duplicated"`
	Reordered   uint64  `json:"reordered"`
	Unexpected  uint64  `json:"unexpected"`
}

// exact reports whether the slow member got every message once and in order.
func (p *Slow) exact() bool {
	return p.Recovered && p.Missing+p.Duplicated+p.Reordered+p.Unexpected == 0
}

func (p *Slow) faults() (f []string) {
	if p.Error != "" {
		f = append(f, "slow member: "+p.Error)
	}
	if p.CloseCode != int(schema.CloseSlow.Code) {
		f = append(f, fmt.Sprintf("slow member: close code %d instead of %d", p.CloseCode, schema.CloseSlow.Code))
	}
	if !p.exact() {
		f = append(f, "slow member: recovery was not exact")
	}
	return f
}

func (t Table) slow(p *Slow) {
	ended := fmt.Sprintf("closed with %d %s", p.CloseCode, p.CloseReason)
	switch p.CloseCode {
	case 0:
		ended = "was not closed"
	case 1006:
		ended = "ended without a close frame (1006)"
	}
	t.Row("slow member", ended, p.Error)
	t.Row("  recovery", fmt.Sprintf("recovered: %t", p.Recovered), fmt.Sprintf("%d publications in the reply", p.InReply),
		fmt.Sprintf("caught up in %s", Short(p.CaughtUp*1e6)))
	exact := "exact"
	if !p.exact() {
		exact = fmt.Sprintf("NOT exact: missing %d, duplicated %d, reordered %d, unexpected %d",
			p.Missing, p.Duplicated, p.Reordered, p.Unexpected)
	}
	t.Row("", exact)
}
