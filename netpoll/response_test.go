package netpoll

import (
	"errors"
	"strings"
	"testing"
	"unicode"
)

// FuzzRefusal: whatever answers a handshake, there is a reason that can be shown.
func FuzzRefusal(f *testing.F) {
	for _, answer := range []string{
		"", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nfull\n", "HTTP/1.1 404 Not Found", "HTTP/1.0 400 Bad Request\r\n\r\n<title>x",
		"HTTP/1.1 99999999999999999999 x\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n", "\x15\x03\x01\x00\x02\x02F", "220 mail\r\n", "HTTP/1.1 403 \xff\x1b[2J\r\n\r\n",
	} {
		f.Add([]byte(answer))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		err := refusal(answer)
		var status StatusError
		if errors.As(err, &status) && (status.Reason == "" || len(status.Reason) > maxReason) {
			t.Fatalf("%q: %q", answer, err)
		}
		if strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) || err.Error() == "" {
			t.Fatalf("%q: %q", answer, err)
		}
		if n := contentLength(answer); n < 0 || n > maxBody {
			t.Fatalf("%q: %d bytes are waited for", answer, n)
		}
	})
}
