package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// dials remembers which brokers could not be reached. A broker says itself at
// which address it is to be found; if nobody can reach that, all that a client
// says is that an answer took too long.
type dials struct {
	mu     sync.Mutex
	failed map[string]failedDial // by address
}

type failedDial struct {
	err error
	at  time.Time
}

// dialNews is how old a failed dial may be to explain what is wrong now. The
// client tries again every few seconds.
const dialNews = 15 * time.Second

var _ kgo.HookBrokerConnect = (*dials)(nil)

// OnBrokerConnect implements kgo.HookBrokerConnect.
func (d *dials) OnBrokerConnect(meta kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	addr := net.JoinHostPort(meta.Host, strconv.Itoa(int(meta.Port)))
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		delete(d.failed, addr)
		return
	}
	if d.failed == nil {
		d.failed = make(map[string]failedDial)
	}
	d.failed[addr] = failedDial{fmt.Errorf("the broker that says it is at %s cannot be reached there: %w", addr, oneLine(err)), time.Now()}
}

// last is the latest failure of a broker that has not been reached since.
func (d *dials) last() (err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var latest time.Time
	for addr, f := range d.failed {
		switch {
		case time.Since(f.at) > dialNews:
			delete(d.failed, addr)
		case f.at.After(latest):
			latest, err = f.at, f.err
		}
	}
	return err
}

// explain adds to an error which broker could not be reached.
func (d *dials) explain(err error) error {
	dial := d.last()
	if dial == nil || strings.Contains(err.Error(), dial.Error()) {
		return err
	}
	return fmt.Errorf("%w: %w", dial, err)
}
