package sink

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-sql-driver/mysql"

	"github.com/hubbub-chat/hubbub/schema"
)

// shardMap tells which rooms of a keyspace of Vitess are in one shard, so that no
// transaction spans two. vtgate would let it (transaction_mode MULTI): it locks
// the rows of a multi-shard INSERT in all shards side by side, so two writers
// with the same rows lock them in different orders, which no shard can see and
// nothing but a time-out ends; and it commits one shard after the other, so a
// crash between leaves positions without their rows. Connections that write
// therefore ask for transaction_mode SINGLE, and vtgate refuses what would span
// shards. That makes the knowledge of this type a matter of speed and never of
// safety: when it is wrong, after a resharding, it is asked for anew.
//
// Which shard a room is in is vtgate's to say, by the vindex of messages.room:
// nothing here knows its hash.
type shardMap struct {
	// Immutable.
	db       *sql.DB
	keyspace string

	many atomic.Bool // the keyspace has more than one shard

	// Guarded by mu.
	mu     sync.Mutex
	vindex string            // of messages.room; empty until it is known
	of     map[string]string // room -> shard, a cache
	wrong  int               // transactions in a row that spanned shards
}

const (
	maxKnownRooms = 100_000 // in the cache, which is emptied when it is full
	vindexPage    = 500     // rooms in one question
)

func newShardMap(db *sql.DB, dsn *mysql.Config) *shardMap {
	keyspace, _, _ := strings.Cut(strings.ReplaceAll(dsn.DBName, "@", "/"), "/")
	return &shardMap{db: db, keyspace: keyspace, of: make(map[string]string)}
}

// count asks how many shards there are. A keyspace that nobody can count is
// taken to have several, which is safe and slower.
func (s *shardMap) count(ctx context.Context) error {
	s.many.Store(true)
	rows, err := s.db.QueryContext(ctx, `SHOW VITESS_SHARDS`)
	if err != nil {
		return fmt.Errorf("count the shards: %w", err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var shard string
		if err := rows.Scan(&shard); err != nil {
			return fmt.Errorf("count the shards: %w", err)
		}
		if strings.HasPrefix(shard, s.keyspace+"/") {
			n++
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("count the shards: %w", err)
	}
	s.many.Store(n != 1)
	return nil
}

// split returns the batch in parts that are in one shard each, in the order in
// which the shards first occur; within a part the order is the batch's.
func (s *shardMap) split(ctx context.Context, batch []*schema.Message) [][]*schema.Message {
	if s == nil || !s.many.Load() {
		return [][]*schema.Message{batch}
	}
	of := s.places(ctx, func(yield func(string) bool) {
		for _, m := range batch {
			if !yield(m.Room) {
				return
			}
		}
	})
	return groupBy(batch, func(m *schema.Message) string { return of[m.Room] })
}

// groupBy splits a list by a key, in the order in which keys first occur.
func groupBy[T any, K comparable](list []T, key func(T) K) (groups [][]T) {
	at := make(map[K]int)
	for _, v := range list {
		i, ok := at[key(v)]
		if !ok {
			i = len(groups)
			at[key(v)] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], v)
	}
	return groups
}

// places returns where each room is: names of shards, or of the rooms
// themselves where that cannot be known. A room is in one shard in any case.
func (s *shardMap) places(ctx context.Context, rooms func(yield func(string) bool)) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	places := make(map[string]string)
	var asked []string
	for room := range rooms {
		if _, ok := places[room]; ok {
			continue
		}
		shard, ok := s.of[room]
		if places[room] = shard; !ok {
			places[room] = "room " + room // no shard has such a name
			asked = append(asked, room)
		}
	}
	if len(places) < 2 || s.wrong > 1 {
		for room := range places {
			places[room] = "room " + room
		}
		return places
	}
	for page := range slices.Chunk(asked, vindexPage) {
		if err := s.ask(ctx, page); err != nil {
			break // each room by itself
		}
	}
	for _, room := range asked {
		if shard, ok := s.of[room]; ok {
			places[room] = shard
		}
	}
	return places
}

// ask reads where rooms are into the cache. vtgate answers by itself.
func (s *shardMap) ask(ctx context.Context, rooms []string) error {
	if s.vindex == "" {
		name, err := s.findVindex(ctx)
		if err != nil {
			return err
		}
		s.vindex = name
	}
	args := make([]any, len(rooms))
	for i, room := range rooms {
		args[i] = room
	}
	rows, err := s.db.QueryContext(ctx, "SELECT id, shard FROM `"+s.vindex+"` WHERE id IN (?"+strings.Repeat(",?", len(rooms)-1)+")", args...)
	if err != nil {
		return fmt.Errorf("ask for the shards of rooms: %w", err)
	}
	defer rows.Close()
	if len(s.of)+len(rooms) > maxKnownRooms {
		clear(s.of)
	}
	for rows.Next() {
		var room, shard string
		if err := rows.Scan(&room, &shard); err != nil {
			return fmt.Errorf("ask for the shards of rooms: %w", err)
		}
		s.of[room] = shard
	}
	return rows.Err()
}

// findVindex returns the name of the vindex of messages.room.
func (s *shardMap) findVindex(ctx context.Context) (name string, err error) {
	rows, err := s.db.QueryContext(ctx, `SHOW VSCHEMA VINDEXES ON messages`)
	if err != nil {
		return "", fmt.Errorf("find the vindex of messages: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var columns, found, kind, params, owner sql.NullString
		if err := rows.Scan(&columns, &found, &kind, &params, &owner); err != nil {
			return "", fmt.Errorf("find the vindex of messages: %w", err)
		}
		if columns.String == "room" && name == "" && !strings.Contains(found.String, "`") {
			name = found.String
		}
	}
	if name == "" {
		return "", errors.Join(errors.New("messages have no vindex on room"), rows.Err())
	}
	return name, rows.Err()
}

// outcome hears how a transaction ended, and forgets what must have been wrong.
func (s *shardMap) outcome(ctx context.Context, err error) {
	if s == nil {
		return
	}
	spanned := isMultiShard(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !spanned {
		if err == nil {
			s.wrong = 0
		}
		return
	}
	s.wrong++
	s.vindex = ""
	clear(s.of)
	_ = s.count(ctx) // one that fails leaves many
}

// isMultiShard reports that vtgate has refused a transaction over several
// shards, which it does in transaction_mode SINGLE.
func isMultiShard(err error) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && strings.Contains(e.Message, "multi-db transaction attempted")
}

// appendParts stores a batch in as few transactions as the database can.
func (s *Store) appendParts(ctx context.Context, batch []*schema.Message) error {
	if s.shards == nil {
		return s.writer.append(ctx, batch)
	}
	for _, part := range s.shards.split(ctx, batch) {
		err := s.writer.append(ctx, part)
		if s.shards.outcome(ctx, err); err != nil {
			return err
		}
	}
	return nil
}

// Split implements Splitter.
func (s *Store) Split(ctx context.Context, batch []*schema.Message) [][]*schema.Message {
	if s.shards == nil {
		return nil // costs nothing
	}
	return s.shards.split(ctx, batch)
}
