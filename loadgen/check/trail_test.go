package check

import "testing"

// TestTrail: pages of a room whose messages 10, 20, ..., 100 were seen, of which
// the first four are forgotten.
func TestTrail(t *testing.T) {
	trail := Trail{Keep: 4}
	for _, i := range []uint64{1, 2, 3, 4, 5, 6, 7, 9, 8, 10} {
		trail.See(Entry{i * 10, i})
		trail.See(Entry{i * 10, i})
	}
	if trail.Begin() != 50 {
		t.Fatalf("it begins with %d", trail.Begin())
	}
	page := func(offsets ...uint64) (p []Entry) {
		for _, o := range offsets {
			p = append(p, Entry{o, o / 10})
		}
		return p
	}
	for _, c := range []struct {
		name        string
		page        []Entry
		since, upto uint64
		reverse     bool
		right       bool
	}{
		{"forwards", page(60, 70, 80), 50, 100, false, true},
		{"to the end", page(90, 100), 80, 100, false, true},
		{"beyond what was seen", page(90, 100, 110), 80, 100, false, true},
		{"beyond what its member has seen", page(90, 95), 80, 80, false, true},
		{"from before the trail", page(20, 25, 30, 40, 50, 60), 10, 100, false, true},
		{"nothing behind the end", nil, 100, 100, false, true},
		{"one left out", page(60, 80), 50, 100, false, false},
		{"the first left out", page(70, 80), 50, 100, false, false},
		{"one too many", page(60, 65, 70), 50, 100, false, false},
		{"empty", nil, 50, 100, false, false},
		{"twice", page(60, 60, 70), 50, 100, false, false},
		{"with since", page(50, 60), 50, 100, false, false},
		{"out of order", page(60, 80, 70), 50, 100, false, false},
		{"another under the offset", []Entry{{60, 6}, {70, 8}}, 50, 100, false, false},
		{"a foreign one", []Entry{{60, 6}, {70, 0}}, 50, 100, false, false},
		{"backwards for forwards", page(70, 60), 50, 100, false, false},

		{"backwards", page(90, 80, 70), 100, 100, true, true},
		{"backwards out of the trail", page(60, 50, 40, 35), 70, 100, true, true},
		{"backwards, the newest left out", page(80, 70), 100, 100, true, false},
		{"backwards, one left out", page(90, 70), 100, 100, true, false},
		{"backwards, empty", nil, 100, 100, true, false},
		{"forwards for backwards", page(70, 80, 90), 100, 100, true, false},
		{"backwards, another", []Entry{{90, 8}}, 100, 100, true, false},
	} {
		if got := trail.Page(c.page, c.since, c.upto, c.reverse); got != c.right {
			t.Errorf("%s: %t", c.name, got)
		}
	}
	none := Trail{}
	none.See(Entry{1, 1})
	if none.Begin() != 0 {
		t.Error("it keeps what nobody wants")
	}
}
