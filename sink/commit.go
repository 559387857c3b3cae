package sink

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hubbub-chat/hubbub/schema"
)

// ErrFenced is returned by Commit when a position is not where the caller
// believed it to be: another writer has stored the partition since, or the
// database has lost its last transactions in a fail-over. Nothing was written.
// The caller reads the position and goes on from there.
var ErrFenced = errors.New("another writer has moved the position")

// Partition is one partition of the log.
type Partition struct {
	Topic string
	ID    int32
}

// Move takes a partition's position from one record to another.
type Move struct {
	Partition
	From, To int64
}

// Link is a place in a room, as seen from the message after it.
type Link struct {
	Partition
	Room string
	Seq  uint64
}

// Repair is what the writer of a partition still owes: the message at Link, or
// with Seq 0 the heal of the room's epoch.
type Repair struct {
	Link
	Epoch string
	Since time.Time
}

// Tombstone stands for a message that cannot be stored, so that what links to
// it links to something. It is hidden, and gives way to the message.
type Tombstone struct {
	Room      string
	Seq, Prev uint64
}

// Commit is what a writer from the log stores in one transaction. What was
// read from the log and how far it was read get there together or not at all:
// so it is known after any crash, of either side, where to go on.
type Commit struct {
	Moves      []Move
	Messages   []*schema.Message
	Tombstones []Tombstone
	Links      []Link   // messages that should be there, and become holes if they are not
	Owed       []Repair // heals to remember
	Done       []Repair // repairs to forget
}

// committer has the statements of a Commit, on a writer's connection. It
// belongs to who holds Store.mu.
type committer struct {
	*writer
	tombstones inserter
}

func newCommitter(w *writer) *committer {
	return &committer{writer: w, tombstones: newInserter(w.dialect.log.addTombstones, w.dialect.pageRows)}
}

// Commit stores all of c in one transaction, or returns an error and, unless
// that is ErrUnavailable, stores nothing. In a sharded database there is no
// such transaction: see commitShards. It returns those of c.Links that nobody
// has stored; for each there is now a tombstone and a Repair that is owed. The
// errors are ErrFenced and those of Append. The lists of c may be in another
// order after it.
func (m *MySQL) Commit(ctx context.Context, c *Commit) (holes []Repair, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, fmt.Errorf("commit: %w", ErrClosed)
	}
	m.tried.Store(time.Now().UnixNano())
	if m.Sharded() {
		holes, err = m.commitShards(ctx, c)
	} else {
		holes, err = m.commits.all(ctx, c)
	}
	m.shards.outcome(ctx, err)
	if errors.Is(err, ErrFenced) {
		m.health.contact.Heard()
		return nil, err
	}
	err = classifyMySQL(err)
	m.health.wrote(err)
	if err != nil {
		return nil, fmt.Errorf("commit %d messages: %w", len(c.Messages), err)
	}
	return holes, nil
}

// all stores a Commit in one transaction. The positions come first: of two
// writers one then waits at once, and finds out before it has done any work.
func (w *committer) all(ctx context.Context, c *Commit) (holes []Repair, err error) {
	defer w.drop()
	if err := w.take(c.Messages); err != nil {
		return nil, err
	}
	err = w.transaction(ctx, func(ctx, bg context.Context) (err error) {
		if err := w.move(bg, c.Moves); err != nil {
			return err
		}
		if holes, err = w.rooms(ctx, bg, c); err != nil {
			return err
		}
		return w.repairs(bg, w.conn, slices.Concat(holes, c.Owed), c.Done)
	})
	return holes, err
}

// commitShards stores a Commit in one transaction for the rooms of each shard,
// and a last one for what belongs to the topic: repairs and positions. An error
// can mean that some of it is stored; to store it again is harmless, and the
// positions say that it has to be.
//
// A hole's repair is noted while the transaction with its tombstone is open:
// were it noted after, a crash between the two would leave a tombstone that no
// later look takes for a hole.
func (m *MySQL) commitShards(ctx context.Context, c *Commit) (holes []Repair, err error) {
	for _, part := range m.splitCommit(ctx, c) {
		found, err := m.commitRooms(ctx, part)
		if err != nil {
			return nil, err
		}
		holes = append(holes, found...)
	}
	w := m.commits
	err = w.transaction(ctx, func(_, bg context.Context) error {
		if err := w.repairs(bg, w.conn, c.Owed, c.Done); err != nil {
			return err
		}
		return w.move(bg, c.Moves)
	})
	return holes, err
}

// commitRooms stores what one shard's rooms get.
func (m *MySQL) commitRooms(ctx context.Context, c *Commit) (holes []Repair, err error) {
	w := m.commits
	defer w.drop()
	if err := w.take(c.Messages); err != nil {
		return nil, err
	}
	err = w.transaction(ctx, func(ctx, bg context.Context) (err error) {
		if holes, err = w.rooms(ctx, bg, c); err == nil && len(holes) > 0 {
			err = w.repairs(bg, m.writes, holes, nil)
		}
		return err
	})
	return holes, err
}

// splitCommit returns the messages, tombstones and links of c in parts that
// are in one shard each.
func (m *MySQL) splitCommit(ctx context.Context, c *Commit) []*Commit {
	if m.shards == nil { // said to be sharded: rows and positions apart
		return []*Commit{{Messages: c.Messages, Tombstones: c.Tombstones, Links: c.Links}}
	}
	of := m.shards.places(ctx, c.rooms)
	parts := make(map[string]*Commit)
	part := func(room string) *Commit {
		p := parts[of[room]]
		if p == nil {
			p = &Commit{}
			parts[of[room]] = p
		}
		return p
	}
	for _, message := range c.Messages {
		p := part(message.Room)
		p.Messages = append(p.Messages, message)
	}
	for _, t := range c.Tombstones {
		p := part(t.Room)
		p.Tombstones = append(p.Tombstones, t)
	}
	for _, l := range c.Links {
		p := part(l.Room)
		p.Links = append(p.Links, l)
	}
	return slices.Collect(maps.Values(parts))
}

// rooms yields the rooms that c is about, some of them more than once.
func (c *Commit) rooms(yield func(string) bool) {
	for _, m := range c.Messages {
		if !yield(m.Room) {
			return
		}
	}
	for _, t := range c.Tombstones {
		if !yield(t.Room) {
			return
		}
	}
	for _, l := range c.Links {
		if !yield(l.Room) {
			return
		}
	}
}

// rooms says the statements about the rooms of c, and returns the holes.
func (w *committer) rooms(ctx, bg context.Context, c *Commit) (holes []Repair, err error) {
	if err := w.insert(ctx, bg); err != nil {
		return nil, err
	}
	slices.SortFunc(c.Tombstones, func(a, b Tombstone) int {
		return cmp.Or(cmp.Compare(a.Room, b.Room), cmp.Compare(a.Seq, b.Seq))
	})
	if _, err := w.addTombstones(bg, c.Tombstones); err != nil {
		return nil, err
	}
	return w.findHoles(bg, c.Links)
}

// repairs notes what is owed and forgets what is done.
func (w *committer) repairs(bg context.Context, on executor, owed, done []Repair) error {
	d := &w.dialect.log
	for _, r := range owed {
		if _, err := on.ExecContext(bg, d.addRepair, r.Topic, r.ID, r.Room, int64(r.Seq), []byte(r.Epoch), r.Since.UnixMilli()); err != nil {
			return fmt.Errorf("note a repair of room %q: %w", r.Room, err)
		}
	}
	for _, r := range done {
		if _, err := on.ExecContext(bg, d.endRepair, r.Topic, r.ID, r.Room, int64(r.Seq), []byte(r.Epoch)); err != nil {
			return fmt.Errorf("end a repair of room %q: %w", r.Room, err)
		}
	}
	return nil
}

// move moves each position from where it was thought to be.
func (w *committer) move(bg context.Context, moves []Move) error {
	slices.SortFunc(moves, func(a, b Move) int { return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.ID, b.ID)) })
	now := time.Now().UnixMilli()
	for _, m := range moves {
		if m.From == m.To {
			continue
		}
		result, err := w.conn.ExecContext(bg, w.dialect.log.movePosition, m.To, now, m.Topic, m.ID, m.From)
		if err != nil {
			return fmt.Errorf("move a position: %w", err)
		}
		n, err := result.RowsAffected()
		if err != nil {
			return err
		}
		if n != 1 {
			return fmt.Errorf("%w: %s/%d is not at %d", ErrFenced, m.Topic, m.ID, m.From)
		}
	}
	return nil
}

// addTombstones returns how many of them stand for something.
func (w *committer) addTombstones(bg context.Context, list []Tombstone) (added int64, err error) {
	for page := range slices.Chunk(list, w.tombstones.page) {
		args := w.tombstones.args[:0]
		for _, t := range page {
			args = append(args, t.Room, int64(t.Seq), int64(t.Prev))
		}
		n, err := w.add(bg, &w.tombstones, len(page), args)
		if err != nil {
			return 0, fmt.Errorf("add %d tombstones: %w", len(page), err)
		}
		added += n
	}
	return added, nil
}

// findHoles returns those links that lead nowhere. It asks by adding a
// tombstone for each: one statement that names only keys, and mostly adds
// none. Only then is each looked at.
func (w *committer) findHoles(bg context.Context, links []Link) (holes []Repair, err error) {
	slices.SortFunc(links, func(a, b Link) int {
		return cmp.Or(cmp.Compare(a.Room, b.Room), cmp.Compare(a.Seq, b.Seq))
	})
	list := make([]Tombstone, len(links))
	for i, l := range links {
		list[i] = Tombstone{Room: l.Room, Seq: l.Seq}
	}
	added, err := w.addTombstones(bg, list)
	if err != nil || added == 0 {
		return nil, err
	}
	for _, l := range links {
		var one int
		err := w.conn.QueryRowContext(bg, w.dialect.log.findTombstone, l.Room, int64(l.Seq)).Scan(&one)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look for a hole in room %q: %w", l.Room, err)
		}
		holes = append(holes, Repair{Link: l, Since: time.Now()})
	}
	return holes, nil
}

// Position returns how far a partition is stored, and when that was noted. For
// a partition that nobody has stored from it is 0, and noted now.
func (m *MySQL) Position(ctx context.Context, p Partition) (pos int64, moved time.Time, err error) {
	d := &m.dialect.log
	var ms int64
	err = m.writes.QueryRowContext(ctx, d.getPosition, p.Topic, p.ID).Scan(&pos, &ms)
	if errors.Is(err, sql.ErrNoRows) {
		if _, err = m.writes.ExecContext(ctx, d.addPosition, p.Topic, p.ID, time.Now().UnixMilli()); err == nil {
			err = m.writes.QueryRowContext(ctx, d.getPosition, p.Topic, p.ID).Scan(&pos, &ms)
		}
	}
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("read the position of %s/%d: %w", p.Topic, p.ID, classifyMySQL(err))
	}
	return pos, time.UnixMilli(ms), nil
}

// Repairs returns what is owed for a partition, at most limit.
func (m *MySQL) Repairs(ctx context.Context, p Partition, limit int) (list []Repair, err error) {
	rows, err := m.writes.QueryContext(ctx, m.dialect.log.getRepairs, p.Topic, p.ID, limit)
	if err != nil {
		return nil, fmt.Errorf("read the repairs of %s/%d: %w", p.Topic, p.ID, classifyMySQL(err))
	}
	defer func() {
		if e := rows.Close(); err == nil && e != nil {
			err = classifyMySQL(e)
		}
	}()
	for rows.Next() {
		r := Repair{Link: Link{Partition: p}}
		var since int64
		if err := rows.Scan(&r.Room, &r.Seq, &r.Epoch, &since); err != nil {
			return nil, fmt.Errorf("read a repair: %w", err)
		}
		r.Since = time.UnixMilli(since)
		list = append(list, r)
	}
	if err := rows.Err(); err != nil {
		return nil, classifyMySQL(err)
	}
	return list, nil
}

// Below returns the offset of the room that is stored before seq, tombstones
// and hidden duplicates included, or 0.
func (m *MySQL) Below(ctx context.Context, room string, seq uint64) (uint64, error) {
	var below int64
	err := m.writes.QueryRowContext(ctx, m.dialect.log.below, room, int64(seq)).Scan(&below)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read what is below %d in room %q: %w", seq, room, classifyMySQL(err))
	}
	return uint64(below), nil
}
