package channels

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/hubbub-chat/hubbub/internal/strictjson"
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

// Parse reads a configuration file: JSON, of which every name must be known
// and there once. A namespace begins with the rules of "default", which begins
// with Defaults. A file that lists no namespaces does not forbid any. An error
// has the line and column of what is wrong.
func Parse(text []byte) (*Namespaces, error) {
	root, err := strictjson.Parse(text)
	if err != nil {
		return nil, err
	}
	fields, err := root.Fields()
	if err != nil {
		return nil, err
	}
	base := Defaults()
	r := &rules{of: map[string]*Options{"": &base}, open: true}
	var listed []strictjson.Field
	for _, f := range fields {
		switch f.Name {
		case "default":
			err = change(&base, f)
		case "namespaces":
			if !isNull(f) {
				r.open = false
				listed, err = f.Fields()
			}
		default:
			err = f.Unknown("default", "namespaces")
		}
		if err != nil {
			return nil, err
		}
	}
	for _, f := range listed {
		if schema.HalfPair(f.NameText()) {
			return nil, f.Wrong(errors.New("half a surrogate pair is not Unicode")) // it would become another name
		}
		if f.Name == "" || strings.ContainsAny(f.Name, ":$@,") || schema.CheckChannel(f.Name) != nil {
			return nil, f.Wrong(fmt.Errorf("namespace %q is not a name without any of :$@,", f.Name))
		}
		o := base
		if err := change(&o, f); err != nil {
			return nil, err
		}
		r.of[f.Name] = &o
	}
	return newNamespaces(r), nil
}

func isNull(f strictjson.Field) bool { return string(f.Text()) == "null" }

// change changes o by what a namespace says: option by option, so that what is
// wrong is known to be wrong with that one.
func change(o *Options, namespace strictjson.Field) error {
	if isNull(namespace) {
		return nil
	}
	fields, err := namespace.Fields()
	if err != nil {
		return err
	}
	recovery, asked := o.Recovery, false
	for _, f := range fields {
		if !slices.Contains(optionNames, f.Name) {
			return f.Unknown(optionNames...)
		}
		asked = asked || f.Name == "recovery"
		if err := json.Unmarshal(fmt.Appendf(nil, "{%q:%s}", f.Name, f.Text()), o); err != nil {
			return f.Value.Wrong(fmt.Errorf("%s: %w", f.Name, plainly(err)))
		}
	}
	if o.Ephemeral && o.Recovery == recovery && !asked {
		o.Recovery = false // it was not asked for, only inherited
	}
	if err := o.check(); err != nil {
		return namespace.Wrong(fmt.Errorf("%s: %w", namespace.Name, err))
	}
	return nil
}

// plainly is an error of encoding/json without the names of Go's types.
func plainly(err error) error {
	if kind := (*json.UnmarshalTypeError)(nil); errors.As(err, &kind) {
		want := map[reflect.Kind]string{reflect.Bool: "true or false", reflect.Int: "a whole number"}[kind.Type.Kind()]
		if want == "" {
			want = "a string"
		}
		return fmt.Errorf("a %s, where %s belongs", kind.Value, want)
	}
	return err
}

// optionNames are the names of Options in the file.
var optionNames = func() (names []string) {
	for f := range reflect.TypeFor[Options]().Fields() {
		names = append(names, f.Tag.Get("json"))
	}
	return names
}()

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
