package netpoll

import (
	"slices"
	"testing"
)

// What is read as plain is what net/textproto reads.
func FuzzFields(f *testing.F) {
	for _, seed := range []string{
		"Host: a\r\n" + bareFields + "\r\n", "\r\n", "", "Host:a\r\nhost:\tb \r\n\r\n", "Host: a\r\n b\r\n\r\n", " Host: a\r\n\r\n",
		"Host : a\r\n\r\n", ": a\r\n\r\n", "Host: a\n\r\n", "Host: a\r\r\n\r\n", "X: \x00\r\n\r\n", "X: \xff\u00fc\r\n\r\n", "X\r\n\r\n",
		"Origin: a: b\r\n\r\n", "H\u00f6st: a\r\n\r\n", "Host: a\r\n\r\nHost: b\r\n\r\n", "HO\u017fT: a\r\n\r\n", "X: a\x7f\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var plain, whole fields
		if !plain.readPlain(string(b)) {
			return
		}
		if err := whole.readWhole(b); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		for i, name := range fieldNames {
			if !slices.Equal(plain.lines[i], whole.lines[i]) {
				t.Errorf("%q: %s is %q, and %q to net/textproto", b, name, plain.lines[i], whole.lines[i])
			}
		}
	})
}
