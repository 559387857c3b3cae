package schema

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/centrifugal/protocol"
	"github.com/centrifugal/protocol/cfjson"
	"github.com/centrifugal/protocol/cfprotobuf"
)

// ErrMalformed is returned for a frame that does not hold commands.
var ErrMalformed = errors.New("malformed command")

// ErrNotUnicode is returned for a command with a name that is not Unicode: half
// a surrogate pair behind \u in JSON, bytes that are not UTF-8 in Protobuf.
var ErrNotUnicode = ErrBadRequest.Because("a name is not Unicode: half a surrogate pair, or bytes that are not UTF-8")

// Decoder takes the commands out of a client's frames. It reuses one Command
// and one PublishRequest, so decoding a publish allocates only its channel
// name; it belongs to one goroutine.
type Decoder struct {
	codec Codec
	rest  []byte
	cmd   protocol.Command
	pub   protocol.PublishRequest
}

// Reset gives the decoder the payload of one WebSocket message.
func (d *Decoder) Reset(c Codec, frame []byte) {
	d.codec, d.rest = c, frame
}

// Rest returns what Next has not looked at yet.
func (d *Decoder) Rest() []byte { return d.rest }

// Next returns the frame's next command, io.EOF behind the last one, or
// ErrMalformed. The command and everything in it but strings are valid until
// the next call. With ErrNotUnicode only the command's id is meant; the frame
// goes on behind it.
func (d *Decoder) Next() (*protocol.Command, error) {
	msg, err := d.split()
	if err != nil {
		return nil, err
	}
	clearCommand(&d.cmd)
	if d.startsPublish(msg) {
		d.pub.Channel, d.pub.Key, d.pub.Type, d.pub.Removed = "", "", 0, false
		d.pub.Data = d.pub.Data[:0]
		d.cmd.Publish = &d.pub
	}
	if d.codec == JSON {
		if err = cfjson.Unmarshal(msg, &d.cmd, 0); err == nil && !unicodeNames(msg) {
			return &d.cmd, ErrNotUnicode
		}
	} else if err = d.cmd.UnmarshalCF(msg); errors.Is(err, cfprotobuf.ErrInvalidUTF8) {
		return &d.cmd, ErrNotUnicode
	}
	if err != nil {
		return nil, ErrMalformed
	}
	return &d.cmd, nil
}

// unicodeNames reports whether everything in a JSON command but its data is
// Unicode. The decoder has put U+FFFD in the place of what is not, which is
// another channel.
func unicodeNames(msg []byte) bool {
	if !HalfPair(msg) {
		return true // nearly always, without a backslash to look at
	}
	err := EachField(msg, func(_, fields []byte) error {
		if fields[0] != '{' {
			return nil // an id, or what nobody knows
		}
		return namesIn(fields, "data")
	})
	return err == nil
}

// split cuts the next message off the frame.
func (d *Decoder) split() ([]byte, error) {
	if d.codec == Protobuf {
		if len(d.rest) == 0 {
			return nil, io.EOF
		}
		size, n := binary.Uvarint(d.rest)
		if n <= 0 || size > uint64(len(d.rest)-n) {
			return nil, ErrMalformed
		}
		msg := d.rest[n : n+int(size)]
		d.rest = d.rest[n+int(size):]
		return msg, nil
	}
	for len(d.rest) > 0 {
		var msg []byte
		if i := bytes.IndexByte(d.rest, '\n'); i >= 0 {
			msg, d.rest = d.rest[:i], d.rest[i+1:]
		} else {
			msg, d.rest = d.rest, nil
		}
		if msg = bytes.TrimSpace(msg); len(msg) > 0 {
			return msg, nil
		}
	}
	return nil, io.EOF
}

// startsPublish recognises a publish by the first bytes that SDKs write, so
// that the reused request can be put in place before decoding. A publish
// written in another way is decoded into a new one.
func (d *Decoder) startsPublish(msg []byte) bool {
	if d.codec == Protobuf {
		if len(msg) > 0 && msg[0] == 1<<3 { // field 1, id
			_, n := binary.Uvarint(msg[1:])
			msg = msg[min(1+max(n, 0), len(msg)):]
		}
		return len(msg) > 0 && msg[0] == 7<<3|2 // field 7, publish
	}
	msg, ok := bytes.CutPrefix(msg, []byte(`{"`))
	if !ok {
		return false
	}
	if rest, ok := bytes.CutPrefix(msg, []byte(`id":`)); ok {
		i := 0
		for i < len(rest) && '0' <= rest[i] && rest[i] <= '9' {
			i++
		}
		if msg, ok = bytes.CutPrefix(rest[i:], []byte(`,"`)); !ok {
			return false
		}
	}
	return bytes.HasPrefix(msg, []byte(`publish":{`))
}

// clearCommand is Command.Reset without its reflection.
func clearCommand(c *protocol.Command) {
	c.Id = 0
	c.Connect, c.Subscribe, c.Unsubscribe, c.Publish = nil, nil, nil, nil
	c.Presence, c.PresenceStats, c.History, c.Ping = nil, nil, nil, nil
	c.Send, c.Rpc, c.Refresh, c.SubRefresh = nil, nil, nil, nil
}
