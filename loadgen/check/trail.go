package check

import (
	"cmp"
	"slices"
)

// Trail is the last messages of a room that somebody saw, by offset: what pages of
// its history are compared with. The zero Trail keeps none until it is told to.
type Trail struct {
	Keep    int // at least; 0: none
	entries []Entry
}

// See adds a message that may have been seen before.
func (t *Trail) See(e Entry) {
	if t.Keep == 0 {
		return
	}
	if n := len(t.entries); n > 0 && t.entries[n-1] == e {
		return // all members but the first
	} else if n == 0 || t.entries[n-1].Offset < e.Offset {
		t.entries = append(t.entries, e)
	} else if i, found := t.find(e.Offset); !found && i > 0 { // in front of all it may be one that was dropped
		t.entries = slices.Insert(t.entries, i, e)
	}
	if len(t.entries) > 2*t.Keep {
		t.entries = slices.Delete(t.entries, 0, t.Keep)
	}
}

func (t *Trail) find(offset uint64) (int, bool) {
	return slices.BinarySearchFunc(t.entries, offset, func(e Entry, o uint64) int { return cmp.Compare(e.Offset, o) })
}

// Begin is the offset of the first message it has; 0: it has none.
func (t *Trail) Begin() uint64 {
	if len(t.entries) == 0 {
		return 0
	}
	return t.entries[0].Offset
}

// Page reports whether a page of the room's history is right: it begins next to since,
// leaves nothing out up to where it ends, and has what was seen under each offset.
// What is behind upto, or before the trail, cannot be told. A page may be as short as
// the server likes, but not empty where there is something.
func (t *Trail) Page(page []Entry, since, upto uint64, reverse bool) bool {
	for i := range page {
		before := since
		if i > 0 {
			before = page[i-1].Offset
		}
		if c := cmp.Compare(page[i].Offset, before); c != 1 && !reverse || c != -1 && reverse {
			return false
		}
	}
	low, high := since+1, upto
	if reverse {
		low, high = t.Begin(), min(since-1, upto)
	}
	if len(page) > 0 {
		if end := page[len(page)-1].Offset; reverse {
			low = max(low, end)
		} else {
			high = min(high, end)
		}
	}
	low = max(low, t.Begin())
	page = slices.Clone(page)
	if reverse {
		slices.Reverse(page)
	}
	page = slices.DeleteFunc(page, func(e Entry) bool { return e.Offset < low || e.Offset > high })
	i, _ := t.find(low)
	j, found := t.find(high)
	if found {
		j++
	}
	return slices.Equal(page, t.entries[min(i, j):j])
}
