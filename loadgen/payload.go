package main

import "strconv"

// minPayload is the smallest --payload in bytes: all fields of a payload at
// their widest and no filler.
const minPayload = 96

// runIDLen is the length of a run's id, which is hexadecimal.
const runIDLen = 8

const maxLag = 1e12 - 1 // ns; twelve digits, so that minPayload holds

// payload is the data of one message: what the checker and the recorder need
// to know of it, and filler up to a size that is part of the scenario.
type payload struct {
	publisher uint32 // connection number
	n         uint32 // the message's number in its room, from 0
	at        int64  // when it was due, clock ns
	lag       int64  // how much later it was sent, ns
}

// sizes is how long the data of messages are, in bytes.
type sizes struct{ least, most int }

// exactly is one size for all.
func exactly(size int) sizes { return sizes{size, size} }

// of is the size of one message: anything between the two, the same each time
// it is asked for.
func (s sizes) of(publisher, n uint32) int {
	if s.most <= s.least {
		return s.least
	}
	// A multiplicative hash (Knuth's): sizes need not be more random than that.
	h := (uint64(publisher)<<32 | uint64(n)) * 0x9E3779B97F4A7C15
	return s.least + int((h>>32)%uint64(s.most-s.least+1))
}

// id tells the message from all others of its room.
func (p payload) id() uint64 { return uint64(p.publisher)<<32 | uint64(p.n) }

const payloadEnd = `"}`

const filler = "The quick brown fox jumps over the lazy dog while the server is being measured. "

// append appends the payload as a JSON object of exactly size bytes, which
// must not be below minPayload.
func (p payload) append(b []byte, run string, size int) []byte {
	from := len(b)
	b = append(append(b, `{"r":"`...), run...)
	b = strconv.AppendUint(append(b, `","p":`...), uint64(p.publisher), 10)
	b = strconv.AppendUint(append(b, `,"n":`...), uint64(p.n), 10)
	b = strconv.AppendInt(append(b, `,"t":`...), p.at, 10)
	b = strconv.AppendInt(append(b, `,"d":`...), min(max(p.lag, 0), maxLag), 10)
	b = append(b, `,"x":"`...)
	for left := size - (len(b) - from) - len(payloadEnd); left > 0; left -= len(filler) {
		b = append(b, filler[:min(left, len(filler))]...)
	}
	return append(b, payloadEnd...)
}

// parsePayload reads what append wrote. It wants those very bytes, the filler
// too: a server hands data on unchanged, so another spelling is another's
// message, or a damaged one.
func parsePayload(data []byte, run string, size sizes) (p payload, ok bool) {
	if len(data) < size.least || len(data) > size.most {
		return p, false
	}
	f := fields{rest: data}
	f.literal(`{"r":"`)
	f.literal(run)
	f.literal(`","p":`)
	p.publisher = uint32(f.number(1<<32 - 1))
	f.literal(`,"n":`)
	p.n = uint32(f.number(1<<32 - 1))
	f.literal(`,"t":`)
	p.at = int64(f.number(1<<63 - 1))
	f.literal(`,"d":`)
	p.lag = int64(f.number(maxLag))
	f.literal(`,"x":"`)
	for !f.failed && len(f.rest) > len(payloadEnd) {
		f.literal(filler[:min(len(f.rest)-len(payloadEnd), len(filler))])
	}
	f.literal(payloadEnd)
	return p, !f.failed && len(data) == size.of(p.publisher, p.n)
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
