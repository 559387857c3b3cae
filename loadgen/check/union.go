package check

import (
	"cmp"
	"encoding/binary"
	"errors"
	"math/bits"
	"slices"
)

// Account is what one process knows of a room that others have members of,
// too, when the run is over.
type Account struct {
	First, Behind uint32 // its publishers are those from First on and before Behind
	Standings     []Standing
	States        []byte  // of what it published, by number: see ledger
	Seen          []Entry // by its members, by offset
}

// Standing is how many of the members began behind one offset.
type Standing struct {
	From    uint64 `json:"from"`
	Members uint64 `json:"members"`
}

// owns reports whether a message is one of this process.
func (a *Account) owns(id uint64) bool {
	publisher := uint32(id >> 32)
	return publisher >= a.First && publisher < a.Behind
}

func (a *Account) state(id uint64) uint8 {
	if n := int(uint32(id)); n < len(a.States) {
		return a.States[n]
	}
	return 0
}

// members is the number of those who should have what has an offset.
func (a *Account) members(offset uint64) (n uint64) {
	for _, s := range a.Standings {
		if s.From < offset {
			n += s.Members
		}
	}
	return n
}

// everybody is an offset that all members began before.
const everybody = ^uint64(0)

// MaxAccounts is how many processes can have members of one room.
const MaxAccounts = 64

// Union is a room that several processes had members of. Each has checked by
// itself that its members saw rising offsets and the same messages under
// them, and has counted what any of them lacked of what another had. What is
// left is what no process can know alone: that the messages they saw are the
// same, offset by offset, which makes the order the same, too; that what was
// seen anywhere was seen by the members everywhere; and that each was said by
// somebody, and is there once.
//
// Rejected: a rolling hash over ranges of offsets instead of the messages
// themselves. It is smaller, and says that something is wrong; but not what,
// nor for how many, and members that joined late fit into no range.
//
// It has 24 bytes of each message, 32 when it is closed, and a byte more of those
// who published it.
type Union struct {
	entries  []shown
	disputes []dispute // in the order of the offsets, for each account
	accounts []Account // without what they saw

	Lost, Duplicated, Unexpected uint64 // deliveries, beyond those that the processes know of
}

// shown is a message, and a bit for each account whose members saw it.
type shown struct {
	Entry
	to uint64
}

// dispute is another message under an offset than the entry there has, which
// the members of one account saw.
type dispute struct {
	Entry
	account int
}

// Add takes one process's account.
func (u *Union) Add(a *Account) {
	to := uint64(1) << len(u.accounts)
	merged := make([]shown, 0, max(len(u.entries), len(a.Seen)))
	have, next := u.entries, a.Seen
	for len(have) > 0 || len(next) > 0 {
		switch {
		case len(next) == 0 || len(have) > 0 && have[0].Offset < next[0].Offset:
			merged, have = append(merged, have[0]), have[1:]
		case len(have) == 0 || next[0].Offset < have[0].Offset:
			merged, next = append(merged, shown{next[0], to}), next[1:]
		default:
			if have[0].ID != next[0].ID {
				u.disputes = append(u.disputes, dispute{next[0], len(u.accounts)})
			}
			merged = append(merged, shown{have[0].Entry, have[0].to | to})
			have, next = have[1:], next[1:]
		}
	}
	u.entries = merged
	kept := *a
	kept.Seen = nil
	u.accounts = append(u.accounts, kept)
}

// isShown is a bit of a state beyond the ledger's: somebody saw it, whoever.
const isShown = isRefused << 1

// Close counts what is wrong, when every account is there. It returns what was
// acknowledged and seen, by offset.
func (u *Union) Close() (acked []Entry) {
	u.judge()
	all := uint64(1)<<len(u.accounts) - 1
	for i := range u.entries {
		e := &u.entries[i]
		owner := u.owner(e.ID)
		said := owner >= 0 && u.accounts[owner].state(e.ID)&isSent != 0
		switch {
		case !said:
			u.Unexpected++
		case u.accounts[owner].state(e.ID)&isAcked != 0:
			acked = append(acked, e.Entry)
			fallthrough
		default:
			u.accounts[owner].States[uint32(e.ID)] |= isShown
		}
		for lack := all &^ e.to; lack != 0; lack &= lack - 1 {
			i := bits.TrailingZeros64(lack)
			if a := &u.accounts[i]; i != owner || !a.unseen(e.ID) { // it has counted those for all its members
				u.Lost += a.members(e.Offset)
			}
		}
	}
	u.nowhere()
	u.twice()
	return acked
}

// judge settles the disputes: what most members saw is right, and all others
// saw what they should not.
func (u *Union) judge() {
	slices.SortStableFunc(u.disputes, func(a, b dispute) int { return byOffset(a.Entry, b.Entry) })
	for rest := u.disputes; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].Offset == rest[0].Offset {
			n++
		}
		at, _ := slices.BinarySearchFunc(u.entries, rest[0].Offset, func(e shown, o uint64) int { return cmp.Compare(e.Offset, o) })
		u.Unexpected += u.settle(&u.entries[at], rest[:n])
		rest = rest[n:]
	}
}

// settle gives an entry the message that most saw there, and returns how many
// did not.
func (u *Union) settle(e *shown, others []dispute) (wrong uint64) {
	first, votes := e.to, map[uint64]uint64{}
	var all, most uint64
	vote := func(account int, id uint64) {
		n := u.accounts[account].members(e.Offset)
		votes[id] += n
		all += n
	}
	for _, d := range others {
		first &^= 1 << d.account
		vote(d.account, d.ID)
	}
	for ; first != 0; first &= first - 1 {
		vote(bits.TrailingZeros64(first), e.ID)
	}
	for id, n := range votes {
		if n > most || n == most && id < e.ID {
			e.ID, most = id, n
		}
	}
	return all - most
}

// owner is the account whose process published a message; -1: none did.
func (u *Union) owner(id uint64) int {
	return slices.IndexFunc(u.accounts, func(a Account) bool { return a.owns(id) })
}

// unseen reports whether a message was acknowledged, and seen by no member of
// its publisher's process.
func (a *Account) unseen(id uint64) bool { return a.state(id)&(isAcked|isSeen) == isAcked }

// nowhere counts what was acknowledged and seen by nobody. The process that
// published it has counted it for its own members.
func (u *Union) nowhere() {
	for i := range u.accounts {
		var n uint64
		for _, s := range u.accounts[i].States {
			if s&(isAcked|isSeen|isShown) == isAcked {
				n++
			}
		}
		for k := range u.accounts {
			if k != i {
				u.Lost += n * u.accounts[k].members(everybody)
			}
		}
	}
}

// twice counts messages that stand under several offsets. A number is given
// once in a process, whoever says it.
func (u *Union) twice() {
	said := make([]uint64, 0, len(u.entries))
	for i := range u.entries {
		if owner := u.owner(u.entries[i].ID); owner >= 0 {
			said = append(said, uint64(owner)<<32|uint64(uint32(u.entries[i].ID)))
		}
	}
	slices.Sort(said)
	for i := 1; i < len(said); i++ {
		if said[i] == said[i-1] {
			u.Duplicated++
		}
	}
}

// AppendEntries writes entries as differences of their offsets: some eight
// bytes each.
func AppendEntries(b []byte, entries []Entry) []byte {
	var last uint64
	for _, e := range entries {
		b = binary.AppendUvarint(b, e.Offset-last)
		b = binary.AppendUvarint(b, e.ID>>32)
		b = binary.AppendUvarint(b, uint64(uint32(e.ID)))
		last = e.Offset
	}
	return b
}

var errEntries = errors.New("not a list of messages")

// ParseEntries appends what AppendEntries wrote.
func ParseEntries(entries []Entry, b []byte) ([]Entry, error) {
	var last uint64
	for len(b) > 0 {
		var v [3]uint64
		for i := range v {
			n := 0
			if v[i], n = binary.Uvarint(b); n <= 0 {
				return nil, errEntries
			}
			b = b[n:]
		}
		if v[1] >= 1<<32 || v[2] >= 1<<32 {
			return nil, errEntries
		}
		last += v[0]
		entries = append(entries, Entry{last, v[1]<<32 | v[2]})
	}
	return entries, nil
}
