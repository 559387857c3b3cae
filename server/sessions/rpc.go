package sessions

import (
	"encoding/json"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/channels"
)

// request is the data of a method that clients can call. It is decoded, then
// the policy is asked whether this client may do in that channel what the
// method needs, and only then it runs: a method cannot forget to ask. run
// answers the command, at once or later.
type request interface {
	needs() (channel string, a channels.Action)
	run(s *session, id uint32, rules *channels.Options)
}

// methods are what clients can call by name, each with its empty request.
var methods = map[string]func() request{
	"chat.send":   func() request { return new(chatSend) },
	"chat.typing": func() request { return new(chatTyping) },
}

func (s *session) rpc(id uint32, call *protocol.RPCRequest) {
	if err := s.serve(id, call); err != nil {
		s.lane().fail(s, id, err)
	}
}

// serve runs a method; with an error the command has still to be answered.
func (s *session) serve(id uint32, call *protocol.RPCRequest) error {
	empty := methods[call.Method]
	if empty == nil {
		return schema.ErrNotAvailable.Because("no such rpc method")
	}
	if err := schema.CheckRequest(call.Data, "data", "text"); err != nil {
		return err
	}
	req := empty()
	if json.Unmarshal(call.Data, req) != nil {
		return schema.ErrBadRequest.Because("the method's data is not an object with its fields")
	}
	channel, action := req.needs()
	rules, err := s.authorize(action, channel)
	if err != nil {
		return err
	}
	req.run(s, id, rules)
	return nil
}

// result answers a call.
func (ln *lane) result(s *session, id uint32, data []byte) {
	ln.reply(s, &protocol.Reply{Id: id, Rpc: &protocol.RPCResult{Data: data}})
}
