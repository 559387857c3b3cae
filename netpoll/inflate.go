package netpoll

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
)

// inflater undoes permessage-deflate (RFC 7692) without context takeover. A
// loop has one, made when it is first needed, so a connection that negotiated
// compression costs no memory.
type inflater struct {
	src bytes.Reader
	end bytes.Reader
	r   io.ReadCloser
	out []byte
}

// deflateTail is what a sender leaves off, and an empty final block, which
// makes the reader end instead of asking for more.
var deflateTail = []byte{0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff}

var errInflatedTooBig = errors.New("message too big when inflated")

// inflate returns the message, in memory that is good until the next call.
// It stops at the limit while inflating: 200 KB can hold 200 MB.
func (f *inflater) inflate(payload []byte, limit int) ([]byte, error) {
	f.src.Reset(payload)
	f.end.Reset(deflateTail)
	in := io.MultiReader(&f.src, &f.end)
	if f.r == nil {
		f.r = flate.NewReader(in)
	} else if err := f.r.(flate.Resetter).Reset(in, nil); err != nil {
		return nil, err
	}
	f.out = f.out[:0]
	for {
		if len(f.out) == cap(f.out) {
			f.out = append(f.out, 0)[:len(f.out)]
		}
		n, err := f.r.Read(f.out[len(f.out):cap(f.out)])
		if f.out = f.out[:len(f.out)+n]; len(f.out) > limit {
			f.shrink()
			return nil, errInflatedTooBig
		}
		if errors.Is(err, io.EOF) {
			return f.out, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// shrink lets a large buffer go.
func (f *inflater) shrink() {
	if cap(f.out) > readBufferSize {
		f.out = nil
	}
}
