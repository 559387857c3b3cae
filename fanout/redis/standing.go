package redis

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/hubbub-chat/hubbub/schema"
)

// standing asks Redis where a room stands. epoch and known are where it stands
// on this node, empty and 0 when it is not in memory.
func (r *Relay) standing(room, epoch string, known uint64) (s standing, err error) {
	floor := "-1"
	for {
		state := r.keys.state(room)
		ctx, cancel := context.WithTimeout(r.ctx, silence)
		reply, err := call{syncScript, []string{state, stream(state)}, []string{
			decimal(known), epoch, floor, newEpoch(), decimal(syncEntries), decimal(r.cfg.Idle.Milliseconds()),
			decimal(r.outbox.highest(room)),
		}}.run(ctx, r.client).ToArray()
		cancel()
		if cold, ok := rueidis.IsRedisErr(err); ok && floor == "-1" && strings.HasPrefix(cold.Error(), "COLD") {
			floor = decimal(r.floor(room))
			continue
		}
		if err != nil {
			return s, err
		}
		return parseStanding(reply)
	}
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
		if s.marks[marks[i]], err = parseMark(marks[i+1]); err != nil {
			return s, err
		}
	}
	return s, nil
}

func parseMark(text string) (mark, error) {
	oldest, newest, _ := strings.Cut(text, " ")
	o, err1 := strconv.ParseUint(oldest, 10, 64)
	n, err2 := strconv.ParseUint(newest, 10, 64)
	if err1 != nil || err2 != nil {
		return mark{}, errMalformed
	}
	return mark{o, n}, nil
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

func parseEntries(room string, entries []rueidis.XRangeEntry) ([]*schema.Message, error) {
	list := make([]*schema.Message, len(entries))
	for i, e := range entries {
		m, _, err := parseEntry(room, e)
		if err != nil {
			return nil, err
		}
		m.MakeReadable()
		list[i] = m
	}
	return list, nil
}

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
	return parseEntries(room, entries)
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
