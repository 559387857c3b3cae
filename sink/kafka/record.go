package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/hubbub-chat/hubbub/schema"
)

// A record's value begins with two bytes that say whose it is, the version of
// what follows, and what it is; its key is the room. Version 1:
//
//	message: 'h' 'b' 1 'm'  offset, offset-prev (uvarint)  user, client, info, key (length as uvarint, bytes)  data (the rest)
//	heal:    'h' 'b' 1 'h'  epoch (the rest)
//
// A field is added by a new version, and a writer that does not know it stops
// there: it is older than the nodes, which a rolling upgrade avoids.
const (
	magic0, magic1 = 'h', 'b'
	version        = 1
	kindMessage    = 'm'
	kindHeal       = 'h'
	headerSize     = 4
)

var (
	// ErrForeign is returned for a record that no Hubbub has written.
	ErrForeign = errors.New("not a record of Hubbub's")

	// ErrNewer is returned for a record of a Hubbub newer than this one.
	ErrNewer = errors.New("the record is a newer Hubbub's")
)

// Record is what a record of the log says: a message, or that the room's
// epoch may be renewed once everything before the record is stored.
type Record struct {
	Message *schema.Message // nil in a heal
	Room    string
	Epoch   string // of a heal
}

// AppendMessage appends the value of m's record.
func AppendMessage(b []byte, m *schema.Message) []byte {
	b = append(b, magic0, magic1, version, kindMessage)
	b = binary.AppendUvarint(b, m.Offset)
	b = binary.AppendUvarint(b, m.Offset-m.Prev)
	b = appendField(b, m.User)
	b = appendField(b, m.Client)
	b = appendField(b, m.Info)
	b = appendField(b, m.Key)
	return append(b, m.Data...)
}

// AppendHeal appends the value of a heal's record.
func AppendHeal(b []byte, epoch string) []byte {
	return append(append(b, magic0, magic1, version, kindHeal), epoch...)
}

func appendField[T string | []byte](b []byte, field T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(field))), field...)
}

// Parse reads a record. What it returns shares no memory with key and value.
// The error is ErrForeign or ErrNewer; whatever passes can be stored, as far
// as that can be seen here.
func Parse(key, value []byte) (Record, error) {
	if len(value) < headerSize || value[0] != magic0 || value[1] != magic1 || value[2] == 0 {
		return Record{}, ErrForeign
	}
	if value[2] > version {
		return Record{}, fmt.Errorf("%w: its version is %d, this program knows %d", ErrNewer, value[2], version)
	}
	room := string(key)
	if err := schema.CheckChannel(room); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrForeign, err)
	}
	switch value[3] {
	case kindMessage:
		m, err := parseMessage(room, value[headerSize:])
		return Record{Message: m, Room: room}, err
	case kindHeal:
		epoch := string(value[headerSize:])
		if epoch == "" || len(epoch) > maxName {
			return Record{}, fmt.Errorf("%w: a heal without an epoch", ErrForeign)
		}
		return Record{Room: room, Epoch: epoch}, nil
	}
	return Record{}, fmt.Errorf("%w: kind %q", ErrForeign, value[3])
}

// maxName is the width of a name's column in every store.
const maxName = 255

func parseMessage(room string, b []byte) (*schema.Message, error) {
	r := reader{rest: b}
	m := &schema.Message{Room: room}
	m.Offset = r.uvarint()
	step := r.uvarint()
	m.User = string(r.field(maxName))
	m.Client = string(r.field(maxName))
	info := r.field(math.MaxInt)
	m.Key = string(r.field(maxName))
	switch {
	case r.short:
		return nil, fmt.Errorf("%w: it is cut off or has a field too long", ErrForeign)
	case m.Offset == 0 || m.Offset > math.MaxInt64 || step == 0 || step > m.Offset:
		return nil, fmt.Errorf("%w: its offsets are out of range", ErrForeign)
	}
	m.Prev = m.Offset - step
	// One copy for both: they live and die together.
	body := make([]byte, len(info)+len(r.rest))
	copy(body, info)
	copy(body[len(info):], r.rest)
	if len(info) > 0 {
		m.Info = body[:len(info):len(info)]
	}
	m.Data = body[len(info):]
	return m, nil
}

// reader takes fields off a value; after the first that is not there, all are
// empty.
type reader struct {
	rest  []byte
	short bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.short, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) field(most int) []byte {
	size := r.uvarint()
	if size > uint64(len(r.rest)) || size > uint64(most) {
		r.short, r.rest = true, nil
		return nil
	}
	field := r.rest[:size]
	r.rest = r.rest[size:]
	return field
}
