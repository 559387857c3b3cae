package hostile

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/centrifugal/protocol"
	"github.com/centrifugal/protocol/cfjson"

	"github.com/hubbub-chat/hubbub/loadgen/blocking"
)

// NotLetIn is the ending of an attacker that the server knows too little of: a guest
// may not say anything there.
const NotLetIn Ending = "guests are not let in"

// badRequest is what a command is answered that cannot be meant, and leaves the
// connection as it is.
const badRequest = 107

// guest is a connection that has joined a room of its own.
type guest struct {
	*blocking.Conn
	binary bool
	room   string
	id     uint32
}

// join makes one.
func (t *attacker) join(ctx context.Context, binaryForm bool) (*guest, error) {
	d := blocking.Dial{Addr: t.target.Addr, Host: t.target.Host, URI: t.target.URI, Timeout: answerWait}
	if binaryForm {
		d.Header = "Sec-WebSocket-Protocol: centrifuge-protobuf\r\n"
	}
	c, err := d.Open(ctx)
	if err != nil {
		return nil, err
	}
	g := &guest{Conn: c, binary: binaryForm, room: fmt.Sprintf("hostile-%x", rand.Uint64())} //nolint:gosec // not a secret
	for _, cmd := range []*protocol.Command{{Connect: &protocol.ConnectRequest{}}, {Subscribe: &protocol.SubscribeRequest{Channel: g.room}}} {
		r, err := g.ask(cmd)
		if err == nil && r.Error != nil {
			err = notLetIn{}
		}
		if err != nil {
			_ = c.Close()
			return nil, err
		}
	}
	return g, nil
}

type notLetIn struct{}

func (notLetIn) Error() string { return string(NotLetIn) }

// say sends a command, under the next id.
func (g *guest) say(cmd *protocol.Command) error {
	g.id++
	cmd.Id = g.id
	if !g.binary {
		return g.Send(blocking.Text, cmd.AppendJSON(nil))
	}
	size := cmd.SizeCF()
	b := binary.AppendUvarint(nil, uint64(size))
	from := len(b)
	b = append(b, make([]byte, size)...)
	if _, err := cmd.MarshalToSizedBufferCF(b[from:]); err != nil {
		return err
	}
	return g.Send(blocking.Binary, b)
}

// ask says a command and waits for its reply.
func (g *guest) ask(cmd *protocol.Command) (*protocol.Reply, error) {
	if err := g.say(cmd); err != nil {
		return nil, err
	}
	return g.reply(cmd.Id)
}

// reply waits for the reply to a command; pushes before it are passed over.
func (g *guest) reply(id uint32) (*protocol.Reply, error) {
	_ = g.SetReadDeadline(time.Now().Add(answerWait)) // a failure shows in what follows
	for {
		frame, err := g.ReadMessage()
		if err != nil {
			return nil, err
		}
		for len(frame) > 0 {
			var message []byte
			if message, frame, err = g.cut(frame); err != nil {
				return nil, err
			}
			r := new(protocol.Reply)
			if g.binary {
				err = r.UnmarshalCF(message)
			} else {
				err = cfjson.Unmarshal(message, r, 0)
			}
			if err != nil {
				return nil, err
			}
			if r.Id == id {
				return r, nil
			}
		}
	}
}

var errFraming = errors.New("a reply that is none")

// cut takes the first message off a frame.
func (g *guest) cut(frame []byte) (message, rest []byte, err error) {
	if !g.binary {
		line, rest, _ := strings.Cut(string(frame), "\n")
		return []byte(line), []byte(rest), nil
	}
	size, n := binary.Uvarint(frame)
	if n <= 0 || size > uint64(len(frame)-n) {
		return nil, nil, errFraming
	}
	return frame[n : n+int(size)], frame[n+int(size):], nil
}

// command is one that cannot be meant. The connection lives on.
type command struct {
	name   string
	binary bool
	make   func(room string) *protocol.Command
}

func (x command) have(ctx context.Context, t *attacker) (Ending, string) {
	name := x.name + " (JSON)"
	if x.binary {
		name = x.name + " (Protobuf)"
	}
	g, err := t.join(ctx, x.binary)
	if err != nil {
		return ended(ctx, err), name
	}
	defer g.Close() //nolint:errcheck // nothing is left to be done
	defer context.AfterFunc(ctx, func() { _ = g.Close() })()
	r, err := g.ask(x.make(g.room))
	if how := refused(ctx, r, err); how != asExpected {
		return how, name
	}
	r, err = g.ask(publication(g.room, `{"text":"and now something else"}`))
	if err != nil {
		return "afterwards " + ended(ctx, err), name
	}
	if r.Error != nil {
		return Ending(fmt.Sprintf("afterwards error %d", r.Error.Code)), name
	}
	return asExpected, name
}

// refused says what came of a command that cannot be meant: it is answered so.
func refused(ctx context.Context, r *protocol.Reply, err error) Ending {
	switch {
	case err != nil:
		return ended(ctx, err)
	case r.Error == nil:
		return "accepted"
	case r.Error.Code != badRequest:
		return Ending(fmt.Sprintf("error %d", r.Error.Code))
	}
	return asExpected
}

// ended is ending of one that may not have been let in.
func ended(ctx context.Context, err error) Ending {
	if errors.Is(err, notLetIn{}) {
		return NotLetIn
	}
	return ending(ctx, err)
}

func publication(room, data string) *protocol.Command {
	return &protocol.Command{Publish: &protocol.PublishRequest{Channel: room, Data: []byte(data)}}
}

// nested is an object of so many levels.
func nested(levels int, fields string) string {
	return "{" + fields + `"x":` + strings.Repeat("[", levels-1) + "1" + strings.Repeat("]", levels-1) + "}"
}

// commands are data of many levels, of types that are not published but asked for among
// them, and names that are no text.
func commands() (all []command) {
	add := func(name string, make func(room string) *protocol.Command) {
		all = append(all, command{name, false, make}, command{name, true, make})
	}
	for _, levels := range []int{200, 3_000, 10_002, 30_000} {
		add(fmt.Sprintf("data of %d levels", levels), func(room string) *protocol.Command { return publication(room, nested(levels, "")) })
	}
	for _, kind := range []string{"delete", "edit", "react", "typing", "read"} {
		for _, levels := range []int{1, 10_002} {
			add(fmt.Sprintf("a message of type %s with %d levels", kind, levels), func(room string) *protocol.Command {
				return publication(room, nested(levels, fmt.Sprintf(`"type":%q,"of":1,`, kind)))
			})
		}
	}
	const half = "a\xed\xa0\x80" // of a surrogate pair, which is no UTF-8
	for _, x := range []struct {
		name string
		make func(channel string) *protocol.Command
	}{
		{"subscribe", func(ch string) *protocol.Command {
			return &protocol.Command{Subscribe: &protocol.SubscribeRequest{Channel: ch}}
		}},
		{"publish", func(ch string) *protocol.Command { return publication(ch, "{}") }},
		{"history", func(ch string) *protocol.Command {
			return &protocol.Command{History: &protocol.HistoryRequest{Channel: ch}}
		}},
		{"presence", func(ch string) *protocol.Command {
			return &protocol.Command{Presence: &protocol.PresenceRequest{Channel: ch}}
		}},
	} {
		all = append(all, command{x.name + " with half a surrogate pair for a channel", true, func(string) *protocol.Command { return x.make(half) }})
	}
	return all
}

// escaped is half a surrogate pair in a channel's name as JSON can write it.
type escaped struct{ name, text string }

func halfPairs() []escaped {
	return []escaped{
		{"subscribe", `{"id":9,"subscribe":{"channel":"a\ud800"}}`},
		{"subscribe, the second half", `{"id":9,"subscribe":{"channel":"a\udc00b"}}`},
		{"publish", `{"id":9,"publish":{"channel":"a\ud800","data":{}}}`},
		{"history", `{"id":9,"history":{"channel":"a\ud800"}}`},
		{"presence", `{"id":9,"presence":{"channel":"a\ud800"}}`},
	}
}

func (e escaped) have(ctx context.Context, t *attacker) (Ending, string) {
	name := e.name + " with half a surrogate pair for a channel (JSON)"
	g, err := t.join(ctx, false)
	if err != nil {
		return ended(ctx, err), name
	}
	defer g.Close() //nolint:errcheck // nothing is left to be done
	defer context.AfterFunc(ctx, func() { _ = g.Close() })()
	if err := g.Send(blocking.Text, []byte(e.text)); err != nil {
		return ended(ctx, err), name
	}
	r, err := g.reply(9)
	return refused(ctx, r, err), name
}

// halfClosed ends its direction behind its last command, whose answer is still to come.
type halfClosed struct{ binary bool }

func (h halfClosed) have(ctx context.Context, t *attacker) (Ending, string) {
	const name = "a FIN behind a publish"
	g, err := t.join(ctx, h.binary)
	if err != nil {
		return ended(ctx, err), name
	}
	defer g.Close() //nolint:errcheck // nothing is left to be done
	defer context.AfterFunc(ctx, func() { _ = g.Close() })()
	cmd := publication(g.room, `{"text":"my last words"}`)
	if err := g.say(cmd); err != nil {
		return ended(ctx, err), name
	}
	if err := g.CloseWrite(); err != nil {
		return ended(ctx, err), name
	}
	r, err := g.reply(cmd.Id)
	switch {
	case errors.Is(err, io.EOF):
		return "no answer", name
	case err != nil:
		return "no answer, " + ended(ctx, err), name
	case r.Error != nil:
		return Ending(fmt.Sprintf("error %d", r.Error.Code)), name
	}
	for err == nil { // and then the end
		_, err = g.ReadMessage()
	}
	if end := ended(ctx, err); end == unanswered {
		return "answered, and held open", name
	}
	return asExpected, name
}
