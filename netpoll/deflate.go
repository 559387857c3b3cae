package netpoll

import (
	"strconv"
	"strings"

	"github.com/hubbub-chat/hubbub/internal/httplist"
)

// acceptDeflate chooses from a client's Sec-WebSocket-Extensions what it is answered:
// the first offer of permessage-deflate that can be kept (RFC 7692, section 5.1), or
// nothing. An offer that cannot, or says what it must not, is declined alone: what
// stands behind it may be meant for servers like this one.
//
// Without context takeover: a window per connection would be many times what the
// connection costs.
func acceptDeflate(lines []string) (answer string, ok bool) {
	for offer := range httplist.Members(lines) {
		name, params, ok := httplist.Parse(offer)
		if !ok || !strings.EqualFold(name, "permessage-deflate") {
			continue
		}
		if answer, ok := deflateAnswer(params); ok {
			return answer, true
		}
	}
	return "", false
}

// deflateAnswer accepts or declines one offer.
func deflateAnswer(params []httplist.Param) (answer string, ok bool) {
	answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	for i, p := range params {
		for _, former := range params[:i] {
			if former.Name == p.Name {
				return "", false
			}
		}
		switch p.Name {
		case "server_no_context_takeover", "client_no_context_takeover":
			if p.HasValue {
				return "", false
			}
		case "client_max_window_bits":
			// The client can be told a window to keep to; ours is the largest there is.
			if _, ok := windowBits(p.Value); p.HasValue && !ok {
				return "", false
			}
		case "server_max_window_bits":
			// compress/flate has one window, of 15 bits.
			if bits, ok := windowBits(p.Value); !ok || bits != maxWindowBits {
				return "", false
			}
			answer += "; server_max_window_bits=" + p.Value
		default:
			return "", false
		}
	}
	return answer, true
}

const minWindowBits, maxWindowBits = 8, 15

func windowBits(s string) (bits int, ok bool) {
	bits, err := strconv.Atoi(s)
	return bits, err == nil && bits >= minWindowBits && bits <= maxWindowBits && strconv.Itoa(bits) == s
}
