package netpoll

import (
	"bufio"
	"bytes"
	"net/textproto"
	"strings"

	"github.com/hubbub-chat/hubbub/internal/httplist"
)

// field is one of the header fields that a handshake is about.
type field int

const (
	fieldHost field = iota
	fieldOrigin
	fieldUpgrade
	fieldConnection
	fieldKey
	fieldVersion
	fieldProtocol
	fieldExtensions
	fieldForwardedFor
	fieldContentLength
	fieldTransferEncoding
	numFields
)

// fieldNames are in the form that net/textproto gives names.
var fieldNames = [numFields]string{
	"Host", "Origin", "Upgrade", "Connection", "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Protocol",
	"Sec-Websocket-Extensions", "X-Forwarded-For", "Content-Length", "Transfer-Encoding",
}

// fields are the lines of each field, in their order. What they hold shares the
// memory of the whole head, so what outlives the handshake is to be copied.
//
// A head is read here when all its lines are of the plain form that clients
// send, and by net/textproto, which says what is right, when one is not: on a
// line that goes on, say, or a bare LF. A fuzz test holds the two together. To
// read every head with net/textproto cost a connection 4 µs, a thirtieth of all.
type fields struct {
	lines [numFields][]string
	in    bytes.Reader
	buf   *bufio.Reader
}

// read takes the fields from what stands behind the request line, the empty
// line included.
func (f *fields) read(b []byte) error {
	if f.readPlain(string(b)) {
		return nil
	}
	return f.readWhole(b)
}

// readWhole reads any header as net/http does.
func (f *fields) readWhole(b []byte) error {
	f.reset()
	if f.buf == nil {
		f.buf = bufio.NewReaderSize(&f.in, 1<<10)
	}
	f.in.Reset(b)
	f.buf.Reset(&f.in)
	r := textproto.Reader{R: f.buf}
	h, err := r.ReadMIMEHeader()
	if err != nil || f.in.Len()+f.buf.Buffered() > 0 {
		return errMalformedHead
	}
	for name := range h { // white space before a colon is refused, not kept (RFC 9112, section 5.1)
		if !httplist.IsToken(name) {
			return errMalformedHead
		}
	}
	for i, name := range fieldNames {
		f.lines[i] = append(f.lines[i], h[name]...)
	}
	return nil
}

// readPlain reports false for what is for net/textproto to judge.
func (f *fields) readPlain(text string) bool {
	f.reset()
	for {
		line, rest, found := strings.Cut(text, "\r\n")
		if !found {
			return false
		}
		if text = rest; line == "" {
			return text == ""
		}
		name, value, found := strings.Cut(line, ":")
		if !found || !httplist.IsToken(name) || !isPlainValue(value) {
			return false
		}
		for i := range fieldNames {
			if len(name) == len(fieldNames[i]) && strings.EqualFold(name, fieldNames[i]) {
				f.lines[i] = append(f.lines[i], strings.Trim(value, " \t"))
				break
			}
		}
	}
}

func (f *fields) reset() {
	for i := range f.lines {
		f.lines[i] = f.lines[i][:0]
	}
}

// isPlainValue reports that a value has no control character but tabs.
func isPlainValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// get returns the first line of a field, or nothing.
func (f *fields) get(i field) string {
	if len(f.lines[i]) == 0 {
		return ""
	}
	return f.lines[i][0]
}

var errMalformedHead = textproto.ProtocolError("malformed head")
