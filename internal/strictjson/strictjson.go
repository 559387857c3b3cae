// Package strictjson reads JSON files that people write, and says where in
// them something is wrong: an Error has line and column. It has no goroutines.
//
// What can stand in a file is checked by its caller, object by object: Fields
// gives the fields of one with their places, and no name twice.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/hubbub-chat/hubbub/internal/suggest"
)

// Error is something wrong at a place of a file.
type Error struct {
	Line, Column int // from 1; columns are characters
	Err          error
}

func (e *Error) Error() string { return fmt.Sprintf("line %d, column %d: %v", e.Line, e.Column, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// Value is a value of a file, and where it stands.
type Value struct {
	file  []byte
	begin int // of the value in the file
	end   int
}

// Field is a name and a value of an object.
type Field struct {
	Name string
	Value
	at, nameEnd int // where the name stands
}

// Parse checks that a file is one JSON value. A byte order mark in front is
// left out.
func Parse(file []byte) (Value, error) {
	file = bytes.TrimPrefix(file, []byte("\ufeff"))
	v := Value{file: file, end: len(file)}
	if len(bytes.TrimSpace(file)) == 0 {
		return v, v.at(0, errors.New("the file is empty"))
	}
	if !utf8.Valid(file) {
		return v, v.at(invalidAt(file), errors.New("not UTF-8"))
	}
	var any json.RawMessage
	err := json.Unmarshal(file, &any)
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
		offset := int(syntax.Offset)
		if !strings.Contains(syntax.Error(), "unexpected end") {
			offset-- // it counts the character that it does not like
		}
		return v, v.at(offset, syntax)
	}
	return v, err
}

func invalidAt(b []byte) int {
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(b)
}

// Text is the value itself.
func (v Value) Text() []byte { return bytes.TrimSpace(v.file[v.begin:v.end]) }

// NameText is the name as it is written, with quotes and escapes.
func (f Field) NameText() []byte { return f.file[f.at:f.nameEnd] }

// Wrong is an error about the value, at its place.
func (v Value) Wrong(err error) error { return v.at(v.begin, err) }

// Wrong is an error about the field, at the place of its name.
func (f Field) Wrong(err error) error { return f.Value.at(f.at, err) }

// Unknown is the error of a field whose name is none of the known ones.
func (f Field) Unknown(known ...string) error {
	if near := suggest.Nearest(f.Name, known); near != "" {
		return f.Wrong(fmt.Errorf("unknown name %q; did you mean %q?", f.Name, near))
	}
	return f.Wrong(fmt.Errorf("unknown name %q, which is none of %s", f.Name, strings.Join(known, ", ")))
}

// at makes an error at an offset of the file.
func (v Value) at(offset int, err error) error {
	before := v.file[:max(0, min(offset, len(v.file)))]
	line := bytes.LastIndexByte(before, '\n') + 1
	return &Error{Line: 1 + bytes.Count(before, []byte("\n")), Column: 1 + utf8.RuneCount(before[line:]), Err: err}
}

// Fields are those of an object, in order. What is no object, and a name that
// is there twice, is an Error.
func (v Value) Fields() ([]Field, error) {
	d := json.NewDecoder(bytes.NewReader(v.file[v.begin:v.end]))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, v.Wrong(errors.New("this is not an object: {…}"))
	}
	var all []Field
	seen := make(map[string]bool)
	for d.More() {
		before := v.begin + int(d.InputOffset())
		f := Field{at: before + bytes.IndexByte(v.file[before:v.end], '"')}
		name, err := d.Token()
		if err != nil {
			return nil, v.Wrong(err) // not after Parse
		}
		f.Name, _ = name.(string)
		f.nameEnd = v.begin + int(d.InputOffset())
		if seen[f.Name] {
			return nil, v.at(f.at, fmt.Errorf("%q is there twice", f.Name))
		}
		seen[f.Name] = true
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil && !errors.Is(err, io.EOF) {
			return nil, v.Wrong(err) // not after Parse
		}
		end := v.begin + int(d.InputOffset())
		f.Value = Value{file: v.file, begin: end - len(raw), end: end}
		all = append(all, f)
	}
	return all, nil
}
