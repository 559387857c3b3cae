package fanout

import "encoding/binary"

// log is what a part has yet to write: whole WebSocket frames, contiguous,
// shared by all members of the part. A member's cursor is a position in it,
// always at the beginning of a frame; positions only grow and outlive the
// bytes: base is the position of buf[0].
//
// It is the one buffer of the fan-out. A member that keeps up costs no copy
// and no memory of its own; one that lags costs the bytes since its cursor,
// once for all who lag. (Redis shares a replication backlog among replicas in
// the same way. Rejected: a queue per member, which is n copies and n bounds.)
//
// Messages appended within one drain may share a frame, up to mergeMessages
// and mergeBytes: that saves the clients' CPU. A frame in which anybody's
// cursor could end is sealed first.
type log struct {
	base uint64
	buf  []byte

	open     int // where the frame that may still grow begins, -1 for none
	messages int // in the open frame
}

const (
	mergeMessages = 16
	mergeBytes    = 16 << 10

	maxHeader = 10 // of an unmasked frame

	opText   = 0x1
	opBinary = 0x2
	finalBit = 0x80

	compressedBit = 0x40 // RSV1, of permessage-deflate
)

func (l *log) end() uint64 { return l.base + uint64(len(l.buf)) }

// from returns what stands behind a cursor.
func (l *log) from(cursor uint64) []byte { return l.buf[cursor-l.base:] }

// append adds one message, as a frame or to the open one.
func (l *log) append(op byte, delimiter []byte, message []byte) {
	if l.open >= 0 && l.messages < mergeMessages && l.extend(delimiter, message) {
		return
	}
	l.open, l.messages = len(l.buf), 1
	l.buf = appendHeader(l.buf, op, len(message))
	l.buf = append(l.buf, message...)
}

// appendAlone adds one message as a frame that no other shares: the stream of
// a compressed one has ended.
func (l *log) appendAlone(op byte, message []byte) {
	l.seal()
	l.buf = appendHeader(l.buf, op, len(message))
	l.buf = append(l.buf, message...)
}

// extend adds a message to the open frame. The header may need more room for
// the length; the payload then moves by the difference.
func (l *log) extend(delimiter, message []byte) bool {
	head := headerSize(l.buf[l.open:])
	size := len(l.buf) - l.open - head
	grown := size + len(delimiter) + len(message)
	if grown > mergeBytes {
		return false
	}
	l.messages++
	op := l.buf[l.open] &^ finalBit
	var header [maxHeader]byte
	h := appendHeader(header[:0], op, grown)
	if more := len(h) - head; more > 0 {
		l.buf = append(l.buf, h[:more]...) // room; overwritten
		copy(l.buf[l.open+len(h):], l.buf[l.open+head:len(l.buf)-more])
	}
	copy(l.buf[l.open:], h)
	l.buf = append(append(l.buf, delimiter...), message...)
	return true
}

// seal ends the open frame: what comes next begins a new one.
func (l *log) seal() { l.open = -1 }

// trim forgets what stands before the cursor. The bytes are moved only when
// that at least halves them, so trimming costs O(1) a byte.
func (l *log) trim(cursor uint64) {
	n := int(cursor - l.base)
	if n <= 0 || n < len(l.buf)-n {
		return
	}
	rest := copy(l.buf, l.buf[n:])
	l.buf = l.buf[:rest]
	l.base = cursor
}

func appendHeader(b []byte, op byte, size int) []byte {
	b = append(b, finalBit|op)
	switch {
	case size < 126:
		return append(b, byte(size))
	case size < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 126), uint16(size))
	default:
		return binary.BigEndian.AppendUint64(append(b, 127), uint64(size))
	}
}

func headerSize(frame []byte) int {
	switch frame[1] {
	case 126:
		return 4
	case 127:
		return 10
	}
	return 2
}
