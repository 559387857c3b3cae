package check

import "strconv"

// MinPayload is the smallest --payload in bytes: all fields of a payload at
// their widest and no filler.
const MinPayload = 96

// RunIDLen is the length of a run's id, which is hexadecimal.
const RunIDLen = 8

const maxLag = 1e12 - 1 // ns; twelve digits, so that MinPayload holds

// Payload is the data of one message: what the checker and the recorder need
// to know of it, and filler up to a size that is part of the scenario.
type Payload struct {
	Publisher uint32 // connection number
	N         uint32 // the message's number in its room, from 0
	At        int64  // when it was due, clock ns
	Lag       int64  // how much later it was sent, ns
}

// Sizes is how long the data of messages are, in bytes.
type Sizes struct{ Least, Most int }

// Exactly is one size for all.
func Exactly(size int) Sizes { return Sizes{size, size} }

// Of is the size of one message: anything between the two, the same each time
// it is asked for.
func (s Sizes) Of(publisher, n uint32) int {
	if s.Most <= s.Least {
		return s.Least
	}
	// A multiplicative hash (Knuth's): sizes need not be more random than that.
	h := (uint64(publisher)<<32 | uint64(n)) * 0x9E3779B97F4A7C15
	return s.Least + int((h>>32)%uint64(s.Most-s.Least+1))
}

// ID tells the message from all others of its room.
func (p Payload) ID() uint64 { return uint64(p.Publisher)<<32 | uint64(p.N) }

const payloadEnd = `"}`

const filler = "The quick brown fox jumps over the lazy dog while the server is being measured. "

// Append appends the payload as a JSON object of exactly size bytes, which
// must not be below MinPayload.
func (p Payload) Append(b []byte, run string, size int) []byte {
	from := len(b)
	b = append(append(b, `{"r":"`...), run...)
	b = strconv.AppendUint(append(b, `","p":`...), uint64(p.Publisher), 10)
	b = strconv.AppendUint(append(b, `,"n":`...), uint64(p.N), 10)
	b = strconv.AppendInt(append(b, `,"t":`...), p.At, 10)
	b = strconv.AppendInt(append(b, `,"d":`...), min(max(p.Lag, 0), maxLag), 10)
	b = append(b, `,"x":"`...)
	for left := size - (len(b) - from) - len(payloadEnd); left > 0; left -= len(filler) {
		b = append(b, filler[:min(left, len(filler))]...)
	}
	return append(b, payloadEnd...)
}

// ParsePayload reads what append wrote. It wants those very bytes, the filler
// too: a server hands data on unchanged, so another spelling is another's
// message, or a damaged one.
func ParsePayload(data []byte, run string, size Sizes) (p Payload, ok bool) {
	if len(data) < size.Least || len(data) > size.Most {
		return p, false
	}
	f := fields{rest: data}
	f.literal(`{"r":"`)
	f.literal(run)
	f.literal(`","p":`)
	p.Publisher = uint32(f.number(1<<32 - 1))
	f.literal(`,"n":`)
	p.N = uint32(f.number(1<<32 - 1))
	f.literal(`,"t":`)
	p.At = int64(f.number(1<<63 - 1))
	f.literal(`,"d":`)
	p.Lag = int64(f.number(maxLag))
	f.literal(`,"x":"`)
	for !f.failed && len(f.rest) > len(payloadEnd) {
		f.literal(filler[:min(len(f.rest)-len(payloadEnd), len(filler))])
	}
	f.literal(payloadEnd)
	return p, !f.failed && len(data) == size.Of(p.Publisher, p.N)
}

// fields takes a text apart from the front; once something is not as
// expected, everything is.
type fields struct {
	rest   []byte
	failed bool
}

func (f *fields) literal(s string) {
	if len(f.rest) < len(s) || string(f.rest[:len(s)]) != s {
		f.failed = true
		return
	}
	f.rest = f.rest[len(s):]
}

func (f *fields) number(most uint64) (v uint64) {
	i := 0
	for i < len(f.rest) && i < 19 && f.rest[i]-'0' <= 9 {
		v = v*10 + uint64(f.rest[i]-'0')
		i++
	}
	if i == 0 || v > most {
		f.failed = true
	}
	f.rest = f.rest[i:]
	return v
}
