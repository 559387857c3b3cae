package api

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/channels"
	"github.com/hubbub-chat/hubbub/server/sessions"
)

// Relay orders messages and makes them durable.
type Relay interface {
	// Publish never blocks. done is called when the message is durable and on
	// its way to the members, or cannot be: once, on another goroutine, or
	// before Publish returns. A message with a Key that its User has used in
	// the room before is neither stored nor delivered: done gets a
	// fanout.Duplicate, or Publish returns fanout.ErrKeyReused when it was
	// another message.
	Publish(m *schema.Message, done func(error)) error
	// Event brings what is not kept to a room's members; encode appends it in
	// a codec. It never blocks.
	Event(room string, encode func([]byte, schema.Codec) []byte)
}

// Store is history that is not in memory.
type Store interface {
	After(ctx context.Context, room string, after, upTo uint64, limit, maxBytes int) ([]*schema.Message, error)
	Before(ctx context.Context, room string, before uint64, limit, maxBytes int) ([]*schema.Message, error)
}

// Blocked keeps who may not connect.
type Blocked interface {
	Block(ctx context.Context, user string, until int64) error
	Unblock(ctx context.Context, user string) error
}

// Config is what the API is served from, and its bounds.
type Config struct {
	Keys     []Key // with none there is no API
	Sessions *sessions.Sessions
	Hub      *fanout.Hub
	Relay    Relay
	Store    Store
	Blocked  Blocked
	Reads    fanout.Reads
	Policy   *channels.Namespaces // nil for an open chat
	Log      *zap.Logger          // nil for none

	Cluster Cluster // nil for a node alone
	UID     string  // of this run of this node, for info; empty: a random one
	Name    string  // of this node, for info
	Version string

	MaxData      int           // bytes of one message's data; default 64 KiB
	Answer       time.Duration // every request is answered within it; default 4 s
	Concurrent   int           // requests worked on at once, above it 503; default 256
	PageMessages int           // of one history reply; default 500
}

const (
	maxBody     = 1 << 20   // bytes of a request
	maxMany     = 1000      // commands of a batch, channels of a broadcast
	maxChannels = 100_000   // listed at once
	maxUser     = 255       // bytes of a user, a client, an rpc's name
	pageBytes   = 512 << 10 // of one history page
)

func (c *Config) setDefaults() {
	if c.Policy == nil {
		c.Policy = channels.Open()
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	c.MaxData = cmp.Or(c.MaxData, 64<<10)
	c.Answer = cmp.Or(c.Answer, 4*time.Second)
	c.Concurrent = cmp.Or(c.Concurrent, 256)
	c.PageMessages = cmp.Or(c.PageMessages, 500)
}

// API answers /api/METHOD, and /api in the form of former SDKs. It may be called concurrently.
type API struct {
	// immutable
	cfg   Config
	keys  keyring
	began time.Time
	slots chan struct{} // one for each request that is worked on

	// guarded by mu
	mu      sync.Mutex
	users   int // as last counted
	counted time.Time
}

// New makes the API. The error is a key's.
func New(cfg Config) (*API, error) {
	if err := CheckKeys(cfg.Keys); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	if cfg.UID == "" {
		var uid [8]byte
		_, _ = rand.Read(uid[:]) // never fails: it ends the program instead
		cfg.UID = hex.EncodeToString(uid[:])
	}
	a := &API{cfg: cfg, keys: newKeyring(cfg.Keys), began: time.Now(), slots: make(chan struct{}, cfg.Concurrent)}
	if cfg.Cluster == nil {
		a.cfg.Cluster = alone{a}
	}
	return a, nil
}

// Prefix is where the API is served.
const Prefix = "/api/"

// ServeHTTP implements http.Handler. Who shows no key learns nothing, not even
// which methods there are.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if len(a.keys) == 0 {
		http.NotFound(w, r)
		return
	}
	if !a.keys.admits(r) {
		w.Header().Set("WWW-Authenticate", "apikey")
		refuse(w, http.StatusUnauthorized, schema.ErrUnauthorized)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, Prefix)
	if _, ok := methods[name]; !ok && name != batchMethod && !isCommands(r.URL.Path) {
		refuse(w, http.StatusNotFound, errMethod)
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed, schema.ErrBadRequest.Because("the method is POST"))
		return
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" || r.Header.Get("Content-Encoding") != "" {
		refuse(w, http.StatusUnsupportedMediaType, schema.ErrBadRequest.Because("the body has to have Content-Type: application/json, and no Content-Encoding"))
		return
	}
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	default:
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, errBusy)
		return
	}
	a.serve(w, r, name)
}

// serve reads the body and answers.
func (a *API) serve(w http.ResponseWriter, r *http.Request, name string) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooBig := (*http.MaxBytesError)(nil); errors.As(err, &tooBig) {
		refuse(w, http.StatusRequestEntityTooLarge, schema.ErrBadRequest.Because("the body is larger than 1 MiB"))
		return
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, schema.ErrBadRequest.Because("the body could not be read"))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), a.cfg.Answer)
	defer cancel()
	if isCommands(r.URL.Path) {
		a.serveCommands(ctx, w, body)
		return
	}
	if name == batchMethod {
		b, e := readBatch(body)
		if e != nil {
			refuse(w, http.StatusBadRequest, e)
			return
		}
		a.serveBatch(ctx, w, b)
		return
	}
	req, e := read(name, body)
	if e != nil {
		refuse(w, http.StatusBadRequest, e)
		return
	}
	a.write(w, http.StatusOK, a.reply(req.run(ctx, a)()))
}
