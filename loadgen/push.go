package main

import (
	"bytes"

	"github.com/centrifugal/protocol/cfjson"
)

// push is what the hot path wants to know of a publication push. Its slices
// are parts of the frame.
type push struct {
	channel, data []byte
	offset        uint64
}

const pushPrefix = `{"push":{"channel":"`

// scanPush reads a publication push written the way servers write them, at a
// fraction of a decoder's cost and without allocating. It returns false for
// anything else, which is then the decoder's to judge; so it need not know
// every form, but what it accepts it must read as the decoder does.
func scanPush(msg []byte) (p push, ok bool) {
	rest, ok := bytes.CutPrefix(msg, []byte(pushPrefix))
	if !ok {
		return p, false
	}
	end := bytes.IndexByte(rest, '"')
	if end < 0 || !plain(rest[:end]) {
		return p, false
	}
	p.channel = rest[:end]
	if rest, ok = bytes.CutPrefix(rest[end:], []byte(`","pub":{"data":`)); !ok {
		return p, false
	}
	flags := cfjson.Prescan(rest, 0)
	end = cfjson.Skip(rest, 0, flags)
	if end < 0 {
		return p, false
	}
	p.data, rest = rest[:end], rest[end:]
	if info, found := bytes.CutPrefix(rest, []byte(`,"info":{`)); found {
		at := len(rest) - len(info) - 1
		if end = cfjson.Skip(rest, at, flags); end < 0 {
			return p, false
		}
		rest = rest[end:]
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(`,"offset":`)); !ok {
		return p, false
	}
	if end = cfjson.Uint(rest, 0, &p.offset); end < 0 || string(rest[end:]) != "}}}" {
		return p, false
	}
	// "data":null is a publication without data to the decoder.
	return p, p.data[0] != 'n'
}

// plain reports whether a JSON string's text stands for itself.
func plain(text []byte) bool {
	for _, c := range text {
		if c < ' ' || c >= 0x7f || c == '\\' {
			return false
		}
	}
	return true
}

// scanAck reads a successful reply to a publish, the other message that comes
// often. It returns its id.
func scanAck(msg []byte) (id uint32, ok bool) {
	rest, ok := bytes.CutPrefix(msg, []byte(`{"id":`))
	if !ok {
		return 0, false
	}
	end := cfjson.Uint(rest, 0, &id)
	return id, end > 0 && string(rest[end:]) == `,"publish":{}}`
}
