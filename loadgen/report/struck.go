package report

import "fmt"

// Struck is what became of the connections that were not read for a time.
type Struck struct {
	Members uint64 `json:"members"`
	Kept    uint64 `json:"kept"`   // went on as if nothing had been
	Anew    uint64 `json:"anew"`   // went on, and were told to begin anew
	Closes  Codes  `json:"closes"` // were ended, by close code
}

// Add adds another's, but for the codes.
func (s *Struck) Add(o *Struck) {
	s.Members += o.Members
	s.Kept += o.Kept
	s.Anew += o.Anew
}

// mergeStruck adds two workers' up; either may have none.
func mergeStruck(a, b *Struck) *Struck {
	switch {
	case b == nil:
		return a
	case a == nil:
		a = &Struck{Closes: Codes{}}
	}
	a.Add(b)
	for code, n := range b.Closes {
		a.Closes[code] += n
	}
	return a
}

func (t Table) struck(name, what, kept string, s *Struck) {
	if s == nil {
		return
	}
	t.Row(name, fmt.Sprintf("%d %s", s.Members, what), fmt.Sprintf("%d %s", s.Kept, kept), some(s.Anew, "were told to begin anew"),
		t.list("ended by the server with ", s.Closes))
}
