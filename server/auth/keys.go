package auth

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// KeysConfig says which keys there are. The zero value has none.
type KeysConfig struct {
	Specs       []KeySpec // keys of the settings; they have no kid unless a JWK gives them one
	JWKS        string    // URL or file of a JWK set, or empty
	WeakSecrets bool      // take secrets under 32 bytes: for trying, never for the public

	Refresh time.Duration // between two looks at the set; default 5 min
	Spacing time.Duration // between two looks at least, whatever tokens ask for; default 10 s
	Log     *zap.Logger   // nil: silent
}

// Keys is the set of keys tokens are verified with. Verifying reads one
// pointer; the goroutine that looks at the JWK set swaps it.
//
// A kid is a name, not a hint: a token whose kid some key has is verified with
// that key alone. A token without a kid, or with one that no key has, is
// verified with the keys that have no kid. Where no key of its algorithm is
// without a kid and one alone has one, a token without a kid is verified with
// that: nothing else can be meant (RFC 7515, 4.1.4: a kid is optional).
//
// The set is looked at again at intervals, and when a token names a kid that is
// not there; no more often than the spacing, since anybody can make up a kid.
// While the source is down, or answers what is no usable set, the keys stay as
// they were. Trying the whole set until a key fits was rejected: it makes
// forged tokens the dearest ones.
type Keys struct {
	// Immutable.
	source  *source // nil without a JWK set
	static  []*key
	refresh time.Duration
	spacing time.Duration
	log     *zap.Logger
	cancel  context.CancelFunc
	done    chan struct{} // closed when run has ended

	// Between callers and run.
	wake chan struct{}          // asks run to look now; holds one
	set  atomic.Pointer[keySet] // never nil; stored by run alone once it runs
}

// NewKeys reads the keys. A JWK set in a file must be there and usable; one
// behind a URL is fetched after NewKeys has returned, so that a node starts
// while its source is down (see Ready). Errors wrap ErrKey.
func NewKeys(cfg KeysConfig) (*Keys, error) {
	k := &Keys{
		refresh: cfg.Refresh, spacing: cfg.Spacing, log: cfg.Log,
		cancel: func() {}, done: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	if k.refresh <= 0 {
		k.refresh = 5 * time.Minute
	}
	if k.spacing <= 0 {
		k.spacing = 10 * time.Second
	}
	if k.log == nil {
		k.log = zap.NewNop()
	}
	for _, spec := range cfg.Specs {
		key, err := readKey(spec, cfg.WeakSecrets)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrKey, err)
		}
		k.static = append(k.static, key)
	}
	k.set.Store(newKeySet(k.static, nil, time.Time{}))
	if cfg.JWKS == "" {
		close(k.done)
		return k, nil
	}
	src, err := newSource(cfg.JWKS)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	k.source = src
	if src.secrets { // a file
		if err := k.look(context.Background()); err != nil {
			return nil, fmt.Errorf("%w: JWK set: %w", ErrKey, err)
		}
	}
	k.start()
	return k, nil
}

// Check reports what NewKeys would refuse of the settings, without fetching
// anything. An error is one line without a secret.
func Check(cfg KeysConfig) error {
	for _, spec := range cfg.Specs {
		if _, err := readKey(spec, cfg.WeakSecrets); err != nil {
			return err
		}
	}
	if cfg.JWKS == "" {
		return nil
	}
	src, err := newSource(cfg.JWKS)
	if err == nil && src.secrets {
		var text []byte
		if text, err = src.read(context.Background()); err == nil {
			_, _, err = parseSet(text, true)
		}
	}
	return err
}

// start runs the goroutine; Close stops it.
func (k *Keys) start() {
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	go k.run(ctx)
}

// Close ends the goroutine, and a fetch it may be in. The keys stay usable.
func (k *Keys) Close() {
	k.cancel()
	<-k.done
}

// Empty reports whether there is nothing that could verify any token, now or
// later: tokens are not in use.
func (k *Keys) Empty() bool { return k.source == nil && len(k.static) == 0 }

// Ready reports whether every source has been read at least once. Until then
// tokens of a JWK set are answered with ErrUnavailable.
func (k *Keys) Ready() bool { return k.source == nil || !k.set.Load().read.IsZero() }

func (k *Keys) run(ctx context.Context) {
	defer close(k.done)
	var last time.Time // when the last look began
	next := k.refresh
	if !k.Ready() {
		next = 0
	}
	timer := time.NewTimer(next)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-k.wake:
			timer.Reset(k.spacing - time.Since(last))
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
		}
		select {
		case <-k.wake: // asked for before this look: it is the answer
		default:
		}
		last = time.Now()
		err := k.look(ctx)
		next := k.refresh
		if err != nil && ctx.Err() == nil {
			k.log.Warn("the JWK set could not be read; the keys stay as they were", zap.String("source", k.source.name), zap.Error(err))
			next = min(k.refresh, k.spacing)
		}
		timer.Reset(next)
	}
}

// look reads the source and, if that gave a usable set, makes it the current
// one.
func (k *Keys) look(ctx context.Context) error {
	began := time.Now()
	text, err := k.source.read(ctx)
	if err != nil {
		return err
	}
	keys, skipped, err := parseSet(text, k.source.secrets)
	if len(skipped) > 0 {
		k.log.Debug("keys of the JWK set are left out", zap.String("source", k.source.name), zap.Strings("reasons", skipped))
	}
	if err != nil {
		return err
	}
	k.set.Store(newKeySet(k.static, keys, began))
	return nil
}

// find returns what verifies a token with this kid and alg, in a form that
// golang-jwt takes. It never blocks.
func (k *Keys) find(id, alg string) (any, error) {
	set := k.set.Load()
	if id != "" {
		if key := set.named[id]; key != nil {
			if key.alg != alg {
				return nil, wrongAlg
			}
			return key.material, nil
		}
	}
	unsure := k.source != nil && (set.read.IsZero() || id != "" && time.Since(set.read) >= k.spacing)
	if unsure {
		select {
		case k.wake <- struct{}{}:
		default:
		}
	}
	if material := set.unnamed[alg]; material != nil {
		return material, nil
	}
	named := set.ofAlg[alg]
	switch {
	case unsure:
		return nil, ErrUnavailable
	case id != "":
		return nil, unknownKid
	case len(named) == 1:
		return named[0].material, nil
	case len(named) > 1:
		return nil, manyKeys
	}
	return nil, noKey
}
