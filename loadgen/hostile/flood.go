package hostile

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/blocking"
)

const (
	pingRate = 100_000 // a second, from one connection
	pingTurn = 2 * time.Millisecond
)

// pings is a flood of them, as many each turn as are due by then. Somebody
// reads the pongs: a flood that blocks on its own replies would be no flood.
func pings(ctx context.Context, t *attacker) Ending {
	c, end := t.open(ctx)
	if c == nil {
		return end
	}
	defer c.Close() //nolint:errcheck // nothing is left to be done
	ended := make(chan Ending, 1)
	go func() { ended <- answers(ctx, c) }() // ends with the connection
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()

	turns := time.NewTicker(pingTurn)
	defer turns.Stop()
	frame := blocking.Frame(nil, blocking.Fin|blocking.Ping, []byte("flood"))
	began, said := time.Now(), 0
	var b []byte
	for {
		select {
		case end := <-ended:
			return end
		case <-turns.C:
		}
		due := min(int(time.Since(began).Seconds()*pingRate), said+4*pingRate/1000*int(pingTurn/time.Millisecond))
		for b = b[:0]; said < due; said++ {
			b = append(b, frame...)
		}
		if _, err := c.Write(b); err != nil {
			return <-ended // the reader knows why, if anybody does
		}
		t.sent.Add(int64(len(b) / len(frame)))
	}
}

// answers reads until the connection ends.
func answers(ctx context.Context, c *blocking.Conn) Ending {
	for {
		if _, err := c.ReadMessage(); err != nil {
			return ending(ctx, err)
		}
	}
}

const headBytes = 10 << 20

// headers is a handshake with ten megabytes of headers.
func headers(ctx context.Context, t *attacker) Ending {
	d := blocking.Dial{Addr: t.target.Addr, Host: t.target.Host, URI: t.target.URI}
	c, err := d.TCP(ctx)
	if err != nil {
		return ending(ctx, err)
	}
	defer c.Close() //nolint:errcheck // nothing is left to be done
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	if _, err := c.Write([]byte(strings.TrimSuffix(d.Request(), "\r\n"))); err != nil {
		return ending(ctx, err)
	}
	line := fmt.Appendf(nil, "X-Padding: %s\r\n", strings.Repeat("x", 1000))
	block := []byte(strings.Repeat(string(line), 16))
	_ = c.SetWriteDeadline(time.Now().Add(patience)) // a failure shows in what follows
	for sent := 0; sent < headBytes; sent += len(block) {
		n, err := c.Write(block)
		t.sent.Add(int64(n))
		if err != nil {
			break // what it was answered is waiting to be read
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(patience)) // a failure shows in what follows
	if err := c.ReadResponse(); err != nil {
		return ending(ctx, err)
	}
	return answered
}

const (
	dripEvery     = 200 * time.Millisecond
	slowlorisEnds = 8 * time.Second // a server gives up on a handshake after five or so
)

// slowloris sends a handshake a byte at a time, and never its end.
func slowloris(ctx context.Context, t *attacker) Ending {
	d := blocking.Dial{Addr: t.target.Addr, Host: t.target.Host, URI: t.target.URI, Timeout: 3 * time.Second}
	c, err := d.TCP(ctx)
	if err != nil {
		return ending(ctx, err)
	}
	defer c.Close() //nolint:errcheck // nothing is left to be done
	ended := make(chan Ending, 1)
	go func() { // ends with the connection
		err := c.ReadResponse()
		ended <- ending(ctx, err)
	}()
	drip := time.NewTicker(dripEvery)
	defer drip.Stop()
	request := strings.TrimSuffix(d.Request(), "\r\n")
	for i := 0; ; i++ {
		if _, err := c.Write([]byte{request[i%len(request)]}); err == nil {
			t.sent.Add(1)
		}
		select {
		case end := <-ended:
			return end
		case <-drip.C:
		case <-ctx.Done():
			return StillOpen
		}
	}
}
