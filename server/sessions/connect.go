package sessions

import (
	"encoding/json"
	"strings"
	"time"
	"unicode"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/schema"
)

// maxGuestName is how much of the name a guest gives itself is kept, in runes.
const maxGuestName = 64

func (s *session) connect(id uint32, req *protocol.ConnectRequest) {
	cfg := &s.lane().all.cfg
	switch {
	case s.connected():
		s.close(schema.CloseBadRequest)
		return
	case req.Token != "":
		// No key is configured that could have signed it.
		s.close(schema.CloseInvalidToken)
		return
	case !cfg.Guests:
		s.lane().fail(s, id, schema.ErrUnauthorized)
		s.close(schema.Close{Code: schema.CloseInvalidToken.Code, Reason: schema.ErrUnauthorized.Message})
		return
	}
	s.who = guest(req.Data)
	s.flags |= flagConnected
	s.lane().all.connected.Add(1)
	interval := uint32(cfg.Ping / time.Second)
	// The first ping comes somewhere in the second half of the interval, so
	// that clients that came together are not pinged together for ever.
	s.pingAt = at(s.lane().loop.Second() + interval - uint32(s.id%uint64(interval/2+1)))
	s.lane().reply(s, &protocol.Reply{Id: id, Connect: &protocol.ConnectResult{
		Client:  s.clientID(),
		Version: cfg.Version,
		Ping:    interval,
		Pong:    s.flags&flagFramePing == 0,
	}})
}

// guest takes the display name out of what a guest sent with its connect:
// {"name": "..."}. Everything else in it is ignored.
func guest(data []byte) *identity {
	if len(data) == 0 {
		return nil
	}
	var said struct{ Name string }
	if json.Unmarshal(data, &said) != nil {
		return nil
	}
	name := strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, said.Name))
	if runes := []rune(name); len(runes) > maxGuestName {
		name = string(runes[:maxGuestName])
	}
	if name == "" {
		return nil
	}
	info, err := json.Marshal(map[string]string{"name": name})
	if err != nil {
		return nil // a string always encodes
	}
	return &identity{info: info}
}
