package report

import (
	"fmt"

	"github.com/hubbub-chat/hubbub/loadgen/check"
)

// History is what the rooms' histories had at the end, compared with what
// was acknowledged and seen.
type History struct {
	check.Kept
	Pages int       `json:"pages"`
	Page  Quantiles `json:"page"`
}

func (t Table) history(h *History) {
	t.Row("history", h.Kept.Line(), fmt.Sprintf("(%d pages)", h.Pages))
}
