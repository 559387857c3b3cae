package redis

import (
	"encoding/binary"
	"errors"

	"github.com/hubbub-chat/hubbub/schema"
)

// What is written into Redis by one version of the program is read by
// another: the first byte of a body is its version, the first of a payload
// its kind.
const (
	bodyVersion = 1

	batchKind = 'M' // epoch, prev of the first, then offset, length and body of each; written by mint.lua
	epochKind = 'E' // epoch, last offset: the room has another history
	eventKind = 'V' // length of JSON, JSON, Protobuf: a push that nobody keeps
	newsKind  = 'A' // the same, for members that asked for announcements

	epochLen = 17 // two halves of 8 hexadecimal digits, and a dot
	bootLen  = 16 // hexadecimal digits
)

var errMalformed = errors.New("malformed data in Redis")

// sent tells who minted a message: a node's boot, and the number it gave.
type sent struct {
	boot    string
	counter uint64
}

// appendBody appends what the stream keeps of a message beside its place.
func appendBody(b []byte, by sent, m *schema.Message) []byte {
	b = append(b, bodyVersion)
	b = append(b, by.boot...)
	b = binary.AppendUvarint(b, by.counter)
	for _, s := range []string{m.User, m.Client, m.Key} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	b = binary.AppendUvarint(b, uint64(len(m.Info)))
	b = append(b, m.Info...)
	return append(b, m.Data...)
}

// parseBody is the inverse of appendBody. The result shares no memory with b.
func parseBody(b string) (*schema.Message, sent, error) {
	if len(b) < 1+bootLen || b[0] != bodyVersion {
		return nil, sent{}, errMalformed
	}
	d := decoder{rest: b[1+bootLen:]}
	by := sent{boot: b[1 : 1+bootLen], counter: d.number()}
	m := &schema.Message{User: d.text(), Client: d.text(), Key: d.text()}
	if info := d.text(); info != "" {
		m.Info = []byte(info)
	}
	m.Data = []byte(d.rest)
	if d.failed || len(m.Data) == 0 {
		return nil, sent{}, errMalformed
	}
	return m, by, nil
}

// decoder reads numbers and texts until one is cut short.
type decoder struct {
	rest   string
	failed bool
}

func (d *decoder) number() (n uint64) {
	for i := 0; i < len(d.rest) && i < binary.MaxVarintLen64; i++ {
		c := d.rest[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			d.rest = d.rest[i+1:]
			return n
		}
	}
	d.failed, d.rest = true, ""
	return 0
}

func (d *decoder) text() string {
	n := d.number()
	if n > uint64(len(d.rest)) {
		d.failed, d.rest = true, ""
		return ""
	}
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}

// fixed reads a big-endian number of so many bytes.
func (d *decoder) fixed(bytes int) (n uint64) {
	if len(d.rest) < bytes {
		d.failed, d.rest = true, ""
		return 0
	}
	for i := range bytes {
		n = n<<8 | uint64(d.rest[i])
	}
	d.rest = d.rest[bytes:]
	return n
}

func (d *decoder) take(bytes uint64) string {
	if bytes > uint64(len(d.rest)) {
		d.failed, d.rest = true, ""
		return ""
	}
	s := d.rest[:bytes]
	d.rest = d.rest[bytes:]
	return s
}

// batch is a payload of kind batchKind.
type batch struct {
	epoch    string
	messages []*schema.Message // linked
	by       []sent
}

func parseBatch(room, payload string) (batch, error) {
	d := decoder{rest: payload[1:]}
	b := batch{epoch: d.take(epochLen)}
	prev := d.fixed(8)
	for d.rest != "" {
		offset := d.fixed(8)
		m, by, err := parseBody(d.take(d.fixed(4)))
		if err != nil || d.failed || offset <= prev {
			return batch{}, errMalformed
		}
		m.Room, m.Offset, m.Prev = room, offset, prev
		b.messages, b.by = append(b.messages, m), append(b.by, by)
		prev = offset
	}
	if d.failed || len(b.messages) == 0 {
		return batch{}, errMalformed
	}
	return b, nil
}

// appendEvent makes a payload of a kind, of a push in both codecs.
func appendEvent(b []byte, kind byte, encode func([]byte, schema.Codec) []byte) []byte {
	b = append(b, kind)
	json := encode(nil, schema.JSON)
	b = binary.AppendUvarint(b, uint64(len(json)))
	return encode(append(b, json...), schema.Protobuf)
}

// event is the push in one codec.
func event(payload string, c schema.Codec) (string, error) {
	d := decoder{rest: payload[1:]}
	json := d.text()
	switch {
	case d.failed || json == "" || d.rest == "":
		return "", errMalformed
	case c == schema.JSON:
		return json, nil
	}
	return d.rest, nil
}
