package schema

import (
	"bytes"
	"fmt"
	"slices"
)

// The gate. Everything that clients, back ends and tokens bring as JSON passes
// scanData before it is stored or shown, by whichever door and in whichever
// encoding it comes. One pass decides all there is to decide: whether the text
// is JSON, whether other people's programs can read it, and whether its type
// is one that only the server may write. Two parsers, one for each question,
// were two opinions: encoding/json gives up at 10,000 levels and called such a
// message untyped, while every browser read the type.
//
// It is stricter than the grammar in two ways, each a limit that readers have:
//
//   - MaxLevels: Python's json dies of about 1,000 levels, Ruby's stops at 100,
//     MySQL's JSON functions at 100, .NET's at 64.
//   - MaxNumber: Java's Jackson stops at 1,000 characters, Python at 4,300.
//
// It is not stricter than that. Half a surrogate pair behind a \u, a number
// that no double holds and a name that is there twice are JSON, and readers
// cope with each in their own way.
const (
	// MaxLevels is how many objects and arrays of data may be inside each
	// other: {"a":[1]} has two levels, a string none.
	MaxLevels = 64

	// MaxNumber is how many characters a number in data may have.
	MaxNumber = 1000

	// storedLevels is MaxLevels for what versions without that limit have
	// stored: readers can still read it.
	storedLevels = 512
)

var (
	errNotJSON    = ErrBadRequest.Because("data is not a JSON value")
	errTooDeep    = ErrBadRequest.Because(fmt.Sprintf("data has more than %d levels", MaxLevels))
	errLongNumber = ErrBadRequest.Because(fmt.Sprintf("data has a number of more than %d characters", MaxNumber))
	errReserved   = ErrBadRequest.Because("this type of message is sent by an RPC")
)

// CheckData reports whether data is one JSON value within the limits, and
// returns it without the raw newlines that would split it on the wire. The
// result is data itself where there are none. The error is ErrBadRequest with
// the reason in its message.
func CheckData(data []byte) ([]byte, error) {
	if _, err := scanData(data, MaxLevels); err != nil {
		return nil, err
	}
	return oneLine(data), nil
}

// CheckClientData is CheckData for what a client publishes by itself: an
// object whose type only the server may write is refused, because the RPCs
// that write it check who may. Names are compared as JSON defines them, after
// escapes and with regard to case. Of several types in one object readers see
// the first or the last: none may be reserved.
func CheckClientData(data []byte) ([]byte, error) {
	reserved, err := scanData(data, MaxLevels)
	if err != nil {
		return nil, err
	}
	if reserved {
		return nil, errReserved
	}
	return oneLine(data), nil
}

// CheckRequest reports whether the JSON object of a request may be decoded: it
// is UTF-8, has at most one level more than data may have, and is Unicode in
// everything but the fields that free names. Data among its fields has still
// to be checked by itself. The error is ErrBadRequest.
func CheckRequest(object []byte, free ...string) error {
	if _, err := scanData(object, MaxLevels+1); err != nil {
		return err
	}
	if !HalfPair(object) {
		return nil
	}
	return namesIn(object, free...)
}

// namesIn returns ErrNotUnicode if there is half a surrogate pair in an object
// other than in the fields that free names.
func namesIn(object []byte, free ...string) error {
	err := EachField(object, func(name, value []byte) error {
		if HalfPair(value) && !slices.Contains(free, string(name)) {
			return ErrNotUnicode
		}
		return nil
	})
	if err != nil {
		return ErrNotUnicode // or the name of a field is not
	}
	return nil
}

// unreadable stands in the place of stored data that nobody could read.
const unreadable = `{"type":"unreadable"}`

// MakeReadable changes a message that comes out of a store, where older
// versions and other programs have put what they liked, into one that can be
// shown: data that would make the whole page it is part of unreadable becomes
// {"type":"unreadable"}, such an info is left out. The message keeps its place.
func (m *Message) MakeReadable() {
	if _, err := scanData(m.Data, storedLevels); err != nil {
		m.Data = []byte(unreadable)
	}
	m.Data = oneLine(m.Data)
	if len(m.Info) == 0 {
		return
	}
	if _, err := scanData(m.Info, storedLevels); err != nil {
		m.Info = nil
	}
	m.Info = oneLine(m.Info)
}

// oneLine returns valid JSON without raw newlines, which are white space
// between tokens there.
func oneLine(data []byte) []byte {
	if bytes.IndexByte(data, '\n') < 0 {
		return data
	}
	return bytes.ReplaceAll(data, []byte{'\n'}, nil)
}
