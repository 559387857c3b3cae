package netpoll

import (
	"bytes"
	"compress/flate"
	"net/http"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// compressed is a client frame with RSV1, of level-9 deflate without its tail.
func compressed(op ws.OpCode, payload string) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	_, _ = w.Write([]byte(payload))
	_ = w.Flush()
	f := ws.NewFrame(op, true, bytes.TrimSuffix(b.Bytes(), deflateTail[:4]))
	f.Header.Rsv = ws.Rsv(true, false, false)
	return ws.MustCompileFrame(ws.MaskFrameWith(f, [4]byte{1, 2, 3, 4}))
}

// split cuts a compressed frame into two fragments; RSV1 is on the first.
func split(whole []byte) []byte {
	f, err := readFrame(bytes.NewReader(whole))
	if err != nil {
		panic(err)
	}
	payload := ws.UnmaskFrame(f).Payload
	half := len(payload) / 2
	first := ws.NewFrame(f.Header.OpCode, false, payload[:half])
	first.Header.Rsv = f.Header.Rsv
	second := ws.NewFrame(ws.OpContinuation, true, payload[half:])
	mask := [4]byte{5, 6, 7, 8}
	return join(ws.MustCompileFrame(ws.MaskFrameWith(first, mask)), ws.MustCompileFrame(ws.MaskFrameWith(second, mask)))
}

func rsv1(f []byte) []byte { f[0] |= 0x40; return f }

func TestCompressedFrames(t *testing.T) {
	_, addr, _ := startEcho(t, Config{MaxMessage: 300 << 10, Compression: true})
	long := strings.Repeat("hello ", 5000)
	zeros := strings.Repeat("\x00", 200<<20)
	for _, c := range []struct {
		name string
		send []byte
		echo string
		code uint16
	}{
		{"text", compressed(ws.OpText, "hello"), "hello", 0},
		{"long", compressed(ws.OpText, long), long, 0},
		{"plain beside it", text("plain"), "plain", 0},
		{"fragments", split(compressed(ws.OpText, long)), long, 0},
		{"empty message", rsv1(text("\x00")), "", 0}, // RFC 7692, 7.2.3.6
		{"empty payload", rsv1(text("")), "", 1002},  // lacks even that
		{"204 KB that inflate to 200 MB", compressed(ws.OpBinary, zeros), "", 1009},
		{"invalid UTF-8 within", compressed(ws.OpText, "\xff"), "", 1007},
		{"not deflate", rsv1(text("\xff\xff\xff\xff")), "", 1002},
		{"RSV1 on a continuation", join(frame(ws.OpText, false, "a"), rsv1(frame(ws.OpContinuation, true, "b"))), "", 1002},
		{"RSV1 on a ping", rsv1(frame(ws.OpPing, true, "")), "", 1002},
	} {
		for _, step := range []int{len(c.send), 1009} {
			t.Run(c.name, func(t *testing.T) {
				p := offerDeflate(t, addr)
				for b := c.send; len(b) > 0; {
					n := min(step, len(b))
					if _, err := p.Write(b[:n]); err != nil {
						break
					}
					b = b[n:]
				}
				if c.code != 0 {
					p.expectClose(c.code)
					return
				}
				p.expect(ws.OpText, c.echo)
			})
		}
	}
}

func offerDeflate(t *testing.T, addr string) *peer {
	t.Helper()
	p := connect(t, addr)
	p.send([]byte("GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"))
	resp, err := http.ReadResponse(p.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	ext := resp.Header.Get("Sec-WebSocket-Extensions")
	for _, want := range []string{"permessage-deflate", "server_no_context_takeover", "client_no_context_takeover"} {
		if !strings.Contains(ext, want) {
			t.Fatalf("the answer's extensions are %q, without %s", ext, want)
		}
	}
	return p
}

func TestCompressionIsOffByDefault(t *testing.T) {
	_, addr, _ := startEcho(t, Config{})
	p := handshake(t, addr)
	p.send(compressed(ws.OpText, "hello"))
	p.expectClose(1002)
}

func FuzzInflate(f *testing.F) {
	f.Add(compressed(ws.OpText, "hello")[6:])
	f.Fuzz(func(t *testing.T, payload []byte) {
		var in inflater
		if out, err := in.inflate(payload, 1000); err == nil && len(out) > 1000 {
			t.Fatalf("inflated to %d bytes", len(out))
		}
	})
}
