package scenario

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Duration is a time like 10s or 1m30s.
type Duration struct{ Value time.Duration }

// UnmarshalYAML implements yaml.Unmarshaler.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	v, err := time.ParseDuration(n.Value)
	if err != nil || n.Kind != yaml.ScalarNode || v < 0 {
		return fmt.Errorf("line %d: %q is not a time like 10s", n.Line, n.Value)
	}
	d.Value = v
	return nil
}

// Share is a number of things, or a part of them like 20%. The zero Share is
// not given.
type Share struct {
	Number   int
	Fraction float64
}

// Given reports whether there is one.
func (s Share) Given() bool { return s != Share{} }

// UnmarshalYAML implements yaml.Unmarshaler.
func (s *Share) UnmarshalYAML(n *yaml.Node) error {
	if text, ok := strings.CutSuffix(n.Value, "%"); ok {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || v <= 0 || v > 100 {
			return fmt.Errorf("line %d: %q is not a part above 0%% and up to 100%%", n.Line, n.Value)
		}
		s.Fraction = v / 100
		return nil
	}
	v, err := strconv.Atoi(n.Value)
	if err != nil || v < 1 {
		return fmt.Errorf("line %d: %q is not a number above 0, or a part like 20%%", n.Line, n.Value)
	}
	s.Number = v
	return nil
}

// Range is a number, or two: the least and the most.
type Range struct{ Least, Most int }

// UnmarshalYAML implements yaml.Unmarshaler.
func (r *Range) UnmarshalYAML(n *yaml.Node) error {
	var two [2]int
	if n.Kind == yaml.ScalarNode {
		if err := n.Decode(&r.Least); err != nil {
			return err
		}
		r.Most = r.Least
		return nil
	}
	if err := n.Decode(&two); err != nil || len(n.Content) != 2 {
		return fmt.Errorf("line %d: want a number, or [least, most]", n.Line)
	}
	r.Least, r.Most = two[0], two[1]
	return nil
}

// Rate is events a second: a number, or two that it goes from and to evenly.
type Rate struct{ From, To float64 }

// UnmarshalYAML implements yaml.Unmarshaler.
func (r *Rate) UnmarshalYAML(n *yaml.Node) error {
	var two [2]float64
	if n.Kind == yaml.ScalarNode {
		if err := n.Decode(&r.From); err != nil {
			return fmt.Errorf("line %d: %q is not a rate, or [from, to]", n.Line, n.Value)
		}
		r.To = r.From
		return nil
	}
	if err := n.Decode(&two); err != nil || len(n.Content) != 2 {
		return fmt.Errorf("line %d: want a rate, or [from, to]", n.Line)
	}
	r.From, r.To = two[0], two[1]
	return nil
}

// UnmarshalYAML implements yaml.Unmarshaler: rooms may be a plain number.
func (r *Rooms) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		return n.Decode(&r.Count)
	}
	type plain Rooms // without this method
	known := map[string]bool{"count": true, "sizes": true, "exponent": true, "groups": true}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if !known[n.Content[i].Value] {
			return fmt.Errorf("line %d: field %s not found in rooms", n.Content[i].Line, n.Content[i].Value)
		}
	}
	for _, g := range groupsOf(n) {
		for i := 0; i+1 < len(g.Content); i += 2 {
			if k := g.Content[i]; k.Value != "count" && k.Value != "members" {
				return fmt.Errorf("line %d: field %s not found in rooms.groups", k.Line, k.Value)
			}
		}
	}
	return n.Decode((*plain)(r))
}

// groupsOf are the entries of rooms.groups. (The strictness of a Decoder does
// not reach through a Node.)
func groupsOf(n *yaml.Node) []*yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "groups" {
			return n.Content[i+1].Content
		}
	}
	return nil
}
