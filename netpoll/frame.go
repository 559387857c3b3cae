package netpoll

import (
	"encoding/binary"

	"github.com/gobwas/ws"
)

// AppendHeader appends the header of an unmasked, final frame.
func AppendHeader(b []byte, op ws.OpCode, size int) []byte {
	return appendLength(append(b, 0x80|byte(op)), 0, size)
}

func appendMaskedHeader(b []byte, op ws.OpCode, size int, mask [4]byte) []byte {
	b = appendLength(append(b, 0x80|byte(op)), 0x80, size)
	return append(b, mask[:]...)
}

func appendLength(b []byte, maskBit byte, size int) []byte {
	switch {
	case size < 126:
		return append(b, maskBit|byte(size))
	case size < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, maskBit|126), uint16(size))
	default:
		return binary.BigEndian.AppendUint64(append(b, maskBit|127), uint64(size))
	}
}

// parseHeader decodes the frame header b begins with. n is its size, 0 when b
// ends within it.
func parseHeader(b []byte) (h ws.Header, n int, err error) {
	if len(b) < 2 {
		return h, 0, nil
	}
	h.Fin = b[0]&0x80 != 0
	h.Rsv = b[0] & 0x70 >> 4
	h.OpCode = ws.OpCode(b[0] & 0x0f)
	h.Masked = b[1]&0x80 != 0
	length := b[1] & 0x7f
	n = 2
	switch length {
	case 126:
		n = 4
	case 127:
		n = 10
	}
	if h.Masked {
		n += 4
	}
	if len(b) < n {
		return h, 0, nil
	}
	switch length {
	case 126:
		h.Length = int64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if b[2]&0x80 != 0 {
			return h, n, ws.ErrHeaderLengthMSB
		}
		h.Length = int64(binary.BigEndian.Uint64(b[2:]))
	default:
		h.Length = int64(length)
	}
	if h.Masked {
		h.Mask = [4]byte(b[n-4 : n])
	}
	return h, n, nil
}

// frameEnd returns the end of the frame that byte n-1 of frames belongs to;
// frames begins on a frame and holds whole ones of ours.
func frameEnd(frames []byte, n int) int {
	end := 0
	for end < n {
		h, size, _ := parseHeader(frames[end:])
		end += size + int(h.Length)
	}
	return end
}
