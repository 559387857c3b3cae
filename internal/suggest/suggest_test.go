package suggest

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"TOKEN_KEY", "TOKEN_KID", "ADDR", "MAX_CONNS", "MYSQL", "history_size"}
	for word, want := range map[string]string{
		"TOKENKEY": "TOKEN_KEY", "token-key": "TOKEN_KEY", "TOKEN_KEYS": "TOKEN_KEY", "TOKNE_KEY": "TOKEN_KEY", "ADRR": "ADDR",
		"MAX_CONN": "MAX_CONNS", "MAXCONNECTIONS": "", "historySize": "history_size", "colour": "", "": "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
