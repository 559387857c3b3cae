package redis

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/schema"
)

// mark says what of a boot may not be durable yet.
type mark struct {
	oldest uint64 // unconfirmed offset
	newest uint64 // that the boot got in the room
}

// standing is what sync.lua says.
type standing struct {
	epoch   string
	last    uint64
	entries []rueidis.XRangeEntry
	marks   map[string]mark // by boot
}

// unasked is a floor for when the store was not asked.
const unasked = "-1"

// isCold reports whether Redis needs to know what the store has of a room.
func isCold(err error) bool {
	a, _ := answerOf(err)
	return a.code == "COLD"
}

// standing asks Redis where a room stands, and the store if Redis does not know
// the room. epoch and known are where it stands on this node, empty and 0 when
// it is not in memory.
func (r *Relay) standing(room, epoch string, known uint64) (standing, error) {
	given := r.outbox.highest(room)
	s, err := r.lookAt(room, epoch, known, given, unasked)
	if isCold(err) {
		s, err = r.lookAt(room, epoch, known, given, decimal(r.floor(room)))
	}
	return s, err
}

// lookAt is one look at where a room stands. given is the highest offset that this
// node knows to have been given, whether it has the message or not; floor is the
// highest that the store has.
func (r *Relay) lookAt(room, epoch string, known, given uint64, floor string) (standing, error) {
	state := r.keys.state(room)
	ctx, cancel := context.WithTimeout(r.ctx, silence)
	defer cancel()
	reply, err := call{syncScript, []string{state, stream(state)}, []string{
		decimal(known), epoch, floor, newEpoch(), decimal(syncEntries), decimal(r.cfg.Idle.Milliseconds()), decimal(given),
	}}.run(ctx, r.client).ToArray()
	if err != nil {
		return standing{}, err
	}
	return parseStanding(reply)
}

func parseStanding(reply []rueidis.RedisMessage) (s standing, err error) {
	if len(reply) != 4 {
		return s, errMalformed
	}
	if s.epoch, err = reply[0].ToString(); err != nil {
		return s, err
	}
	if s.last, err = reply[1].AsUint64(); err != nil {
		return s, err
	}
	if s.entries, err = reply[2].AsXRange(); err != nil {
		return s, err
	}
	marks, err := reply[3].AsStrSlice()
	if err != nil || len(marks)%2 != 0 || len(s.epoch) != epochLen {
		return s, errMalformed
	}
	for i := 0; i < len(marks); i += 2 {
		if s.marks == nil {
			s.marks = make(map[string]mark)
		}
		s.marks[marks[i]] = parseMark(marks[i+1])
	}
	return s, nil
}

// parseMark reads a mark. One that cannot be read stands for everything that
// the stream has of its boot.
func parseMark(text string) mark {
	oldest, newest, _ := strings.Cut(text, " ")
	o, err1 := strconv.ParseUint(oldest, 10, 64)
	n, err2 := strconv.ParseUint(newest, 10, 64)
	if err1 != nil || err2 != nil {
		return mark{}
	}
	return mark{o, n}
}

// parseEntry makes a message of an entry of a stream.
func parseEntry(room string, e rueidis.XRangeEntry) (*schema.Message, sent, error) {
	offset, err := strconv.ParseUint(strings.TrimSuffix(e.ID, "-0"), 10, 64)
	if err != nil {
		return nil, sent{}, errMalformed
	}
	m, by, err := parseBody(e.FieldValues["b"])
	if err != nil {
		return nil, sent{}, err
	}
	if m.Prev, err = strconv.ParseUint(e.FieldValues["p"], 10, 64); err != nil || m.Prev >= offset {
		return nil, sent{}, errMalformed
	}
	m.Room, m.Offset = room, offset
	return m, by, nil
}

// parseEntries makes messages of the entries that can be read, and counts the
// others. What they were is a gap, as if they had been deleted.
func parseEntries(room string, entries []rueidis.XRangeEntry) (list []*schema.Message, unreadable int) {
	list = make([]*schema.Message, 0, len(entries))
	for _, e := range entries {
		if m, _, err := parseEntry(room, e); err == nil {
			m.MakeReadable()
			list = append(list, m)
		}
	}
	return list, len(entries) - len(list)
}

// readEntries is parseEntries, and tells of what cannot be read.
func (r *Relay) readEntries(room string, entries []rueidis.XRangeEntry) []*schema.Message {
	list, unreadable := parseEntries(room, entries)
	if unreadable > 0 {
		r.stats.unreadable.Add(1)
		r.rooms.warn(room, "entries of a room's stream cannot be read", zap.Int("entries", unreadable))
	}
	return list
}

// behind is where to go on reading a stream after an entry, readable or not.
func behind(e rueidis.XRangeEntry) string { return "(" + e.ID }

// renew gives a room another epoch, as after a loss.
func (r *Relay) renew(room, epoch string) error {
	ctx, cancel := context.WithTimeout(r.ctx, silence)
	defer cancel()
	return call{renewScript, []string{r.keys.state(room)}, []string{epoch, newEpoch(), decimal(epochLen)}}.run(ctx, r.client).Error()
}

// Healed implements what the writer calls when it has stored all that a node
// produced before a heal record: the epoch's second half is renewed, if the
// first is still that, and members load a complete history. Each node asks for
// it after a loss, since each knows of messages that the others do not.
func (r *Relay) Healed(ctx context.Context, room, epoch string) error {
	return r.cfg.Client.Healed(ctx, room, epoch)
}

// Healed is Relay.Healed for a program that relays nothing: the writer's.
func (c *Client) Healed(ctx context.Context, room, epoch string) error {
	if len(epoch) != epochLen {
		return nil
	}
	half := epochLen / 2
	return call{renewScript, []string{c.keys.state(room)}, []string{epoch[:half], epoch[:half+1] + random(8), decimal(half)}}.run(ctx, c.rueidis).Error()
}

// Range returns what a room's stream still has of after < offset <= upTo.
func (c *Client) Range(ctx context.Context, room string, after, upTo uint64) ([]*schema.Message, error) {
	state := c.keys.state(room)
	entries, err := c.rueidis.Do(ctx, c.rueidis.B().Xrange().Key(stream(state)).Start(decimal(after+1)).End(decimal(upTo)).Build()).AsXRange()
	if err != nil {
		return nil, err
	}
	list, _ := parseEntries(room, entries)
	return list, nil
}

// healEvery is how often a room is healed at most.
const healEvery = 10 * time.Second

// heal asks the writer to renew the epoch once more, when it is that far.
func (r *Relay) heal(room, epoch string) {
	r.heals.mu.Lock()
	now := time.Now()
	last, ok := r.heals.at[room]
	due := !ok || now.Sub(last) >= healEvery
	if due {
		r.heals.at[room] = now
	}
	r.heals.mu.Unlock()
	if due {
		r.cfg.Log.Heal(room, epoch)
	}
}
