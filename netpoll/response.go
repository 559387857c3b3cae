package netpoll

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"
)

// StatusError is an answer to a handshake that is not 101.
type StatusError struct {
	Code   int
	Reason string // what the server said of it: the first line of the body, or the status line's text
}

func (e StatusError) Error() string { return fmt.Sprintf("HTTP %d: %s", e.Code, e.Reason) }

// CloseError is the peer's close frame, where it has a code.
type CloseError struct{ Close }

func (e CloseError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("close %d: %s", e.Code, e.Reason))
}

// The other ways in which a handshake fails.
var (
	errNoAnswer   = errors.New("closed without an answer to the handshake")
	errNotHTTP    = errors.New("an answer to the handshake that is not HTTP")
	errTLS        = errors.New("an answer to the handshake that is TLS, which is not spoken here")
	errLongAnswer = errors.New("an answer to the handshake without an end")
	errBadAccept  = errors.New("an answer to another handshake (Sec-WebSocket-Accept)")
	errBadUpgrade = errors.New("an upgrade that is not HTTP/1.1's")
)

// How much of a refusal's text is kept, and of its body is waited for, bytes.
const (
	maxReason = 80
	maxBody   = 512
)

// errHandshakeTimeout says what was waited for.
func errHandshakeTimeout(s state) error {
	if s == stateDial {
		return os.NewSyscallError("connect", unix.ETIMEDOUT)
	}
	return errors.New("no answer to the handshake in time")
}

// failed tells the Handler of a connection that was dialled why it ends.
func (c *Conn) failed(err error) {
	if f, ok := c.handler.(Failer); ok && c.mode&modeClient != 0 {
		f.Failed(c, err)
	}
}

// cutOff ends a connection from which nothing more can be read; errno is 0 at its
// end.
func (c *Conn) cutOff(errno unix.Errno) {
	switch {
	case errno != 0:
		c.failed(os.NewSyscallError("read", errno))
	case c.state != stateDialHead:
		c.failed(io.EOF)
	case c.in == nil:
		c.failed(errNoAnswer)
	default:
		c.failed(refusal(c.in.msg))
	}
	c.end(codeAbnormal)
}

// readResponse collects the response head and opens the connection when it
// agrees to the handshake.
func (c *Conn) readResponse(b []byte) {
	head := c.collect(b)
	end := bytes.Index(head, []byte("\r\n\r\n")) + 4
	agrees := bytes.HasPrefix(head, []byte("HTTP/1.1 101 "))
	switch {
	case !httpBegins(head):
		c.refused(refusal(head))
	case end < 4 && len(head) > minHead:
		c.refused(errLongAnswer)
	case end < 4, !agrees && len(head)-end < contentLength(head[:end]):
		c.stash(b)
	case !agrees:
		c.refused(refusal(head))
	case !bytes.Contains(head[:end], appendAcceptKey(nil, c.loop.key())):
		c.refused(errBadAccept)
	default:
		rest := head[end:]
		c.in = nil
		c.open(c.handler, nil)
		c.readFrames(rest)
	}
}

func (c *Conn) refused(err error) {
	c.loop.stats.badHandshakes.Add(1)
	c.failed(err)
	c.end(codeAbnormal)
}

// httpBegins reports whether an answer is HTTP, as far as it has come.
func httpBegins(head []byte) bool {
	const first = "HTTP/1."
	n := min(len(head), len(first))
	return string(head[:n]) == first[:n]
}

// contentLength is how many bytes of a body are worth waiting for.
func contentLength(head []byte) int {
	for line := range bytes.Lines(head) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(bytes.TrimSpace(name), []byte("Content-Length")) {
			n, _ := strconv.Atoi(string(bytes.TrimSpace(value)))
			return max(0, min(n, maxBody))
		}
	}
	return 0
}

// refusal is what an answer says that does not agree to the handshake.
func refusal(answer []byte) error {
	const alert, handshake = 21, 22 // TLS's
	if len(answer) > 1 && (answer[0] == alert || answer[0] == handshake) && answer[1] == 3 {
		return errTLS
	}
	line, _, _ := bytes.Cut(answer, []byte("\r\n"))
	version, status, _ := bytes.Cut(line, []byte(" "))
	code, text, _ := bytes.Cut(status, []byte(" "))
	n, err := strconv.Atoi(string(code))
	if !bytes.HasPrefix(version, []byte("HTTP/1.")) || err != nil {
		return errNotHTTP
	}
	if n == http.StatusSwitchingProtocols {
		return errBadUpgrade
	}
	_, body, _ := bytes.Cut(answer, []byte("\r\n\r\n"))
	for _, reason := range []string{firstLine(body), printable(text), http.StatusText(n)} {
		if reason != "" {
			return StatusError{n, reason}
		}
	}
	return StatusError{n, "no reason"}
}

// firstLine is that of a text, or the title of a page.
func firstLine(body []byte) string {
	body = bytes.TrimSpace(body)
	if bytes.HasPrefix(body, []byte("<")) {
		_, title, _ := bytes.Cut(body, []byte("<title>"))
		title, _, _ = bytes.Cut(title, []byte("</title>"))
		return printable(title)
	}
	line, _, _ := bytes.Cut(body, []byte("\n"))
	return printable(line)
}

// printable is text without what a terminal would take for a command.
func printable(text []byte) string {
	s := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, strings.ToValidUTF8(string(text[:min(len(text), maxReason)]), ""))
	return strings.TrimSpace(s)
}
