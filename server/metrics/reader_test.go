package metrics

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/netpoll"
)

// What was turned away is counted by its own reason: a log that stalls is not one
// that is full.
func TestDrops(t *testing.T) {
	count := func() int { return 0 }
	m := New(Sources{
		Net:   func() netpoll.Stats { return netpoll.Stats{Refused: 1, BadHandshakes: 2, Panics: 3} },
		Conns: count, MaxConns: count, Sessions: count,
		Hub:   func() fanout.Stats { return fanout.Stats{Slow: 4, Refused: 5, Ahead: 8} },
		Queue: func() Queue { return Queue{Refused: 6, Stalled: 7} },
	}, "test")
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`hubbub_drops_total{reason="server_full"} 1`, `hubbub_drops_total{reason="bad_handshake"} 2`, `hubbub_drops_total{reason="panic"} 3`,
		`hubbub_drops_total{reason="slow_member"} 4`, `hubbub_drops_total{reason="overload"} 5`,
		`hubbub_drops_total{reason="write_queue_full"} 6`, `hubbub_drops_total{reason="write_stalled"} 7`,
		`hubbub_rooms_ahead 8`,
	} {
		if !strings.Contains(w.Body.String(), "\n"+want+"\n") {
			t.Errorf("no %s in\n%s", want, w.Body)
		}
	}
}
