package schema

import (
	"bytes"

	"github.com/centrifugal/protocol/cfjson"
)

// containers are the objects and arrays that are open around a value, a bit
// for each: 1 for an object.
type containers struct {
	bits  [storedLevels / 64]uint64
	depth int
}

func (c *containers) push(object bool) {
	word, bit := c.depth>>6, uint64(1)<<(c.depth&63)
	if c.bits[word] &^= bit; object {
		c.bits[word] |= bit
	}
	c.depth++
}

// inObject reports whether the innermost is an object.
func (c *containers) inObject() bool {
	return c.bits[(c.depth-1)>>6]>>((c.depth-1)&63)&1 != 0
}

// leave moves from the end of a value past the containers that end behind it:
// to a comma, or to the end of the text when none is open any more. It returns
// -1 where there is neither.
func (c *containers) leave(data []byte, i int) int {
	for {
		if i = cfjson.SkipSpace(data, i); c.depth == 0 {
			if i != len(data) {
				return -1
			}
			return i
		}
		if i >= len(data) {
			return -1
		}
		if data[i] == ',' {
			return i
		}
		if object := c.inObject(); object && data[i] != '}' || !object && data[i] != ']' {
			return -1
		}
		i, c.depth = i+1, c.depth-1
	}
}

// scanData reads one JSON value of at most maxLevels, which is at most
// storedLevels. reserved says that it is an object with a reserved type.
// Nothing is allocated, except for an escape in a short name or type.
func scanData(data []byte, maxLevels int) (reserved bool, err error) {
	f := cfjson.Prescan(data, 0)
	var open containers
	i := cfjson.SkipSpace(data, 0)
	typed := false // the value at i is that of the name "type", at the top
	for {
		if i >= len(data) {
			return false, errNotJSON
		}
		switch c := data[i]; c { // a value begins at i
		case '{', '[':
			if open.depth == maxLevels {
				return false, errTooDeep
			}
			open.push(c == '{')
			typed = false
			i = cfjson.SkipSpace(data, i+1)
			if i < len(data) && data[i] == c+2 { // } or ]
				i, open.depth = i+1, open.depth-1
				break
			}
			if c == '{' {
				if i, typed = scanName(data, i, f, open.depth); i < 0 {
					return false, errNotJSON
				}
			}
			continue
		default:
			end := cfjson.Skip(data, i, f)
			switch {
			case end < 0:
				return false, errNotJSON
			case c == '"':
				reserved = reserved || typed && isReserved(data[i:end])
			case end-i > MaxNumber:
				return false, errLongNumber
			}
			i = end
		}
		if i = open.leave(data, i); i < 0 {
			return false, errNotJSON
		}
		if open.depth == 0 {
			return reserved, nil
		}
		i = cfjson.SkipSpace(data, i+1) // past the comma
		if typed = false; open.inObject() {
			if i, typed = scanName(data, i, f, open.depth); i < 0 {
				return false, errNotJSON
			}
		}
	}
}

// scanName reads a name and its colon. It returns where the value is, below 0
// when there is no name, and whether the name is "type" at the top.
func scanName(data []byte, i int, f cfjson.Flags, depth int) (value int, typed bool) {
	if i >= len(data) || data[i] != '"' {
		return -1, false
	}
	end := cfjson.Skip(data, i, f)
	if end < 0 {
		return -1, false
	}
	value = cfjson.SkipSpace(data, end)
	if value >= len(data) || data[value] != ':' {
		return -1, false
	}
	return cfjson.SkipSpace(data, value+1), depth == 1 && isType(data[i:end])
}

// isType reports whether a name is "type".
func isType(name []byte) bool {
	if len(name) == len(`"type"`) {
		return string(name) == `"type"`
	}
	return len(name) > len(`"type"`) && string(plainText(name, len("type"))) == `"type"`
}

// isReserved reports whether a string is a type that only the server writes.
func isReserved(text []byte) bool {
	switch string(plainText(text, len("typing"))) {
	case `"edit"`, `"delete"`, `"react"`, `"typing"`, `"read"`:
		return true
	}
	return false
}

// plainText returns a string, quotes included, without its escapes. It may
// leave them in what must have more than n characters.
func plainText(text []byte, n int) []byte {
	const longest = 6 // \u0074
	if len(text) > longest*n+2 || bytes.IndexByte(text, '\\') < 0 {
		return text
	}
	var s string
	if cfjson.String(text, 0, 0, &s) < 0 {
		return text
	}
	return append(append([]byte{'"'}, s...), '"')
}
