package schema

import (
	"bytes"
	"errors"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/centrifugal/protocol/cfjson"
)

var errNotObject = errors.New("not a JSON object")

// EachField calls f with every name and value of a JSON object, in order.
// Nothing is allocated for names and values without escapes, and both die with
// data. The text must have been found to be JSON before; what is not an object
// is errNotObject.
//
// Decoding into a struct was rejected: encoding/json takes {"SUB": …} for
// {"sub": …} and the last of two equal names, so what a token says would
// depend on who reads it.
func EachField(data []byte, f func(name, value []byte) error) error {
	i := skipSpace(data, 0)
	if i == len(data) || data[i] != '{' {
		return errNotObject
	}
	for i = skipSpace(data, i+1); i < len(data) && data[i] == '"'; {
		end := skipValue(data, i)
		name := data[i+1 : end-1]
		if !plainString(name) {
			s, err := Unquote(data[i:end])
			if err != nil {
				return err
			}
			name = []byte(s)
		}
		i = skipSpace(data, skipSpace(data, end)+1) // past the colon
		end = skipValue(data, i)
		if err := f(name, data[i:end]); err != nil {
			return err
		}
		if i = skipSpace(data, end); i < len(data) && data[i] == ',' {
			i = skipSpace(data, i+1)
		}
	}
	return nil
}

var errNotArray = errors.New("not a JSON array")

// EachItem calls f with every value of a JSON array, under the same terms.
func EachItem(data []byte, f func(value []byte) error) error {
	if len(data) == 0 || data[0] != '[' {
		return errNotArray
	}
	for i := skipSpace(data, 1); i < len(data) && data[i] != ']'; {
		end := skipValue(data, i)
		if err := f(data[i:end]); err != nil {
			return err
		}
		if i = skipSpace(data, end); i < len(data) && data[i] == ',' {
			i = skipSpace(data, i+1)
		}
	}
	return nil
}

func skipSpace(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\t' || data[i] == '\n' || data[i] == '\r') {
		i++
	}
	return i
}

// skipValue returns where the value at i ends.
func skipValue(data []byte, i int) int {
	depth, quoted := 0, false
	for ; i < len(data); i++ {
		switch c := data[i]; {
		case quoted:
			switch c {
			case '\\':
				i++
			case '"':
				if quoted = false; depth == 0 {
					return i + 1
				}
			}
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth == 0 {
				return i // a number or literal ended before it
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case depth == 0 && (c == ',' || c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			return i
		}
	}
	return len(data)
}

func plainString(s []byte) bool {
	for _, c := range s {
		if c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

var errNotText = errors.New("not a string of valid Unicode")

// Unquote reads a JSON string. What is no Unicode is refused, in bytes or as
// half a surrogate pair behind \u: where decoders put U+FFFD in its place two
// names would become one.
func Unquote(value []byte) (string, error) {
	if len(value) < 2 || value[0] != '"' {
		return "", errNotText
	}
	if s := value[1 : len(value)-1]; plainString(s) {
		return string(s), nil
	}
	s, err := cfjson.UnmarshalString(value) // refuses what is not UTF-8
	if err != nil || HalfPair(value) {
		return "", errNotText
	}
	return s, nil
}

// HalfPair reports whether valid JSON has half a surrogate pair behind \u, in
// any name or string. It is asked of the text because no decoder tells.
func HalfPair(text []byte) bool {
	for {
		i := bytes.IndexByte(text, '\\')
		if i < 0 || i+2 > len(text) {
			return false
		}
		r, ok := escaped(text[i:])
		if !ok {
			text = text[i+2:]
			continue
		}
		if text = text[i+escapeLen:]; !utf16.IsSurrogate(r) {
			continue
		}
		low, ok := escaped(text)
		if !ok || utf16.DecodeRune(r, low) == utf8.RuneError {
			return true
		}
		text = text[escapeLen:]
	}
}

const escapeLen = len(`\u0000`)

// escaped reads the \u0000 that text begins with, if it does.
func escaped(text []byte) (r rune, ok bool) {
	if len(text) < escapeLen || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(text[2:escapeLen]), 16, 16)
	return rune(n), err == nil
}
