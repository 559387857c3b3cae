package fanout

import (
	"bytes"
	"compress/flate"

	"github.com/hubbub-chat/hubbub/schema"
)

// Form is how a message travels to a member: the codec, whether the member
// takes compressed frames, and whether it asked for announcements. Each form
// that a room's members use has a log of its own; what is the same on the wire
// is encoded once per message.
type Form uint8

const (
	wireForms = 2 * int(schema.NumCodecs)
	numForms  = 2 * wireForms
)

// FormOf returns the form of a codec, compressed or not.
func FormOf(c schema.Codec, deflate bool) Form {
	f := Form(c) << 1
	if deflate {
		f |= 1
	}
	return f
}

// WithAnnouncements returns the form of a member that also gets what
// Hub.Announce brings.
func (f Form) WithAnnouncements() Form { return f.wire() + Form(wireForms) }

// Announces reports whether members of this form get announcements.
func (f Form) Announces() bool { return int(f) >= wireForms }

// wire is the form without what does not change a message's bytes.
func (f Form) wire() Form { return f % Form(wireForms) }

// Codec is the form's codec.
func (f Form) Codec() schema.Codec { return schema.Codec(f.wire() >> 1) }

// Deflated reports whether frames of the form may be compressed.
func (f Form) Deflated() bool { return f&1 != 0 }

// payload is a message in one form.
type payload struct {
	bytes      []byte
	compressed bool
	made       bool
}

// courier makes the forms of one message after the other, and keeps the
// memory for it. It belongs to one goroutine at a time.
type courier struct {
	enc     schema.Encoder
	forms   [wireForms]payload
	deflate deflater
}

// begin forgets the message before.
func (c *courier) begin() {
	for i := range c.forms {
		c.forms[i].made = false
	}
}

// form returns the message in a form; encode appends it in a codec.
func (c *courier) form(f Form, encode func([]byte, schema.Codec) []byte) *payload {
	p := &c.forms[f.wire()]
	if p.made {
		return p
	}
	p.made = true
	if !f.Deflated() {
		p.bytes = encode(p.bytes[:0], f.Codec())
		return p
	}
	plain := c.form(FormOf(f.Codec(), false), encode)
	p.bytes, p.compressed = c.deflate.append(p.bytes[:0], plain.bytes)
	return p
}

// deflater compresses messages for permessage-deflate without context
// takeover (RFC 7692): once per message, for all members.
type deflater struct {
	w   *flate.Writer // made when first needed: it takes most of a megabyte
	buf bytes.Buffer
}

// minDeflate is the size below which nothing is gained.
const minDeflate = 96

// append appends the message, compressed if that makes it shorter.
func (d *deflater) append(b, message []byte) ([]byte, bool) {
	if len(message) < minDeflate {
		return append(b, message...), false
	}
	d.buf.Reset()
	if d.w == nil {
		d.w, _ = flate.NewWriter(&d.buf, flate.BestSpeed) // the level is valid
	} else {
		d.w.Reset(&d.buf)
	}
	// Writing to a bytes.Buffer does not fail.
	_, _ = d.w.Write(message)
	_ = d.w.Flush()
	out := bytes.TrimSuffix(d.buf.Bytes(), []byte{0x00, 0x00, 0xff, 0xff})
	if len(out) >= len(message) {
		return append(b, message...), false
	}
	return append(b, out...), true
}
