package main

import "fmt"

// historyPart is what the rooms' histories had at the end, compared with what
// was acknowledged and seen.
type historyPart struct {
	kept
	Pages int       `json:"pages"`
	Page  quantiles `json:"page"`
}

func (t table) history(h *historyPart) {
	t.row("history", h.kept.line(), fmt.Sprintf("(%d pages)", h.Pages))
}
