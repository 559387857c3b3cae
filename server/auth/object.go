package auth

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"
)

var errNotObject = errors.New("not a JSON object")

// eachField calls f with every name and value of a JSON object, in order.
// Nothing is allocated for names and values without escapes, and both die with
// data. The text must have been found to be JSON before; what is not an object
// is errNotObject.
//
// Decoding into a struct was rejected: encoding/json takes {"SUB": …} for
// {"sub": …} and the last of two equal names, so what a token says would
// depend on who reads it.
func eachField(data []byte, f func(name, value []byte) error) error {
	i := skipSpace(data, 0)
	if i == len(data) || data[i] != '{' {
		return errNotObject
	}
	for i = skipSpace(data, i+1); i < len(data) && data[i] == '"'; {
		end := skipValue(data, i)
		name := data[i+1 : end-1]
		if !plainString(name) {
			s, err := text(data[i:end])
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

// eachItem calls f with every value of a JSON array, under the same terms.
func eachItem(data []byte, f func(value []byte) error) error {
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

// text reads a JSON string. Where encoding/json puts U+FFFD in the place of
// what is no Unicode, it is refused: two names must not become one.
func text(value []byte) (string, error) {
	if len(value) < 2 || value[0] != '"' {
		return "", errNotText
	}
	if s := value[1 : len(value)-1]; plainString(s) {
		return string(s), nil
	}
	var s string
	if json.Unmarshal(value, &s) != nil || strings.ContainsRune(s, utf8.RuneError) {
		return "", errNotText
	}
	return s, nil
}
