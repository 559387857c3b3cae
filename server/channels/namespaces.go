package channels

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/hubbub-chat/hubbub/schema"
)

// Namespaces is the rules of all channels, in memory. Every command asks them,
// so a change of the rules holds from the next one on. All methods may be
// called concurrently.
type Namespaces struct{ rules atomic.Pointer[rules] }

// rules is what Namespaces hold; it is never changed. The namespace of a
// channel without one is "".
type rules struct {
	of   map[string]*Options
	open bool // none are listed: every namespace exists, with the default rules

	unguarded bool // everybody may do what a channel has
}

func newNamespaces(r *rules) *Namespaces {
	n := &Namespaces{}
	n.rules.Store(r)
	return n
}

// Unguard lets everybody do what a channel has, whatever its rules say of who
// may: for trying and tests.
func (n *Namespaces) Unguard() {
	r := *n.rules.Load()
	r.unguarded = true
	n.rules.Store(&r)
}

// Replace gives the namespaces the rules of others.
func (n *Namespaces) Replace(by *Namespaces) { n.rules.Store(by.rules.Load()) }

// Open is the rules without a configuration file: every namespace exists.
func Open() *Namespaces {
	d := Defaults()
	return newNamespaces(&rules{of: map[string]*Options{"": &d}, open: true})
}

// file is the configuration file. A namespace begins with the rules of
// "default", which begins with Defaults. A file that lists no namespaces does
// not forbid any.
type file struct {
	Default    json.RawMessage            `json:"default"`
	Namespaces map[string]json.RawMessage `json:"namespaces"`
}

// Parse reads a configuration file: JSON, of which every key must be known.
func Parse(text []byte) (*Namespaces, error) {
	var f file
	if err := decode(text, &f); err != nil {
		return nil, err
	}
	base := Defaults()
	if err := change(&base, f.Default, "default"); err != nil {
		return nil, err
	}
	r := &rules{of: map[string]*Options{"": &base}, open: f.Namespaces == nil}
	for name, text := range f.Namespaces {
		if name == "" || strings.ContainsAny(name, ":$@,") || schema.CheckChannel(name) != nil {
			return nil, fmt.Errorf("namespace %q is not a name without any of :$@,", name)
		}
		o := base
		if err := change(&o, text, "namespace "+name); err != nil {
			return nil, err
		}
		r.of[name] = &o
	}
	return newNamespaces(r), nil
}

// change changes o by what the text says.
func change(o *Options, text json.RawMessage, name string) error {
	if len(text) == 0 {
		return nil
	}
	recovery := o.Recovery
	if err := decode(text, o); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if o.Ephemeral && o.Recovery == recovery && !bytes.Contains(text, []byte(`"recovery"`)) {
		o.Recovery = false // it was not asked for, only inherited
	}
	if err := o.check(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func decode(text []byte, into any) error {
	if !utf8.Valid(text) || schema.HalfPair(text) {
		return errors.New("it is not Unicode: bytes that are not UTF-8, or half a surrogate pair") // which would become another name
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something stands behind the end")
	}
	return nil
}

// Of returns the rules of a channel, or ErrUnknownChannel when its namespace
// does not exist.
func (n *Namespaces) Of(channel string) (*Options, error) {
	r := n.rules.Load()
	if r.open {
		return r.of[""], nil
	}
	if o := r.of[namespace(channel)]; o != nil {
		return o, nil
	}
	return nil, schema.ErrUnknownChannel
}

// namespace is what stands before the first colon, except in the name of a
// direct-message room.
func namespace(channel string) string {
	if strings.HasPrefix(channel, "@") {
		return ""
	}
	name, _, found := strings.Cut(channel, ":")
	if !found {
		return ""
	}
	return name
}

// private reports whether a channel wants a token or a capability.
func private(channel string) bool {
	if strings.HasPrefix(channel, "$") {
		return true
	}
	_, rest, found := strings.Cut(channel, ":")
	return found && strings.HasPrefix(rest, "$")
}

// Direct reports whether a channel is a direct-message room.
func Direct(channel string) bool { return strings.HasPrefix(channel, "@") }

// pair returns the two users of a direct-message room, as they stand there.
func pair(channel string) (a, b string, ok bool) {
	rest, ok := strings.CutPrefix(channel, "@")
	if !ok {
		return "", "", false
	}
	a, b, found := strings.Cut(rest, ",")
	return a, b, found && a != "" && b != "" && !strings.Contains(b, ",")
}

// CheckOrder refuses the name of a direct-message room whose users stand the
// wrong way round, and names the right one. It holds for every caller: what a
// back end publishes to the wrong name would reach nobody. The name is not
// quietly corrected, because clients find replies and pushes by the name that
// they have used.
func CheckOrder(channel string) error {
	if a, b, ok := pair(channel); ok && a > b {
		return schema.ErrBadRequest.Because("the direct-message room of these two is named @" + b + "," + a)
	}
	return nil
}
