// Package httplist reads HTTP header fields whose value is a list, by RFC 9110:
// all lines of one name are one list in their order (section 5.3), members are
// separated by commas outside of quoted strings, empty ones do not count (5.6.1),
// and a member may have parameters (5.6.6). Everybody here who looks at such a field
// reads it with this package, so that two readers cannot differ.
//
// Nouns: Members and Param. No goroutine, no state.
package httplist

import (
	"iter"
	"strings"
)

// Members yields the members of the list that the lines of one field are, without
// the white space around them.
func Members(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		value := ""
		switch len(lines) {
		case 0:
			return
		case 1:
			value = lines[0]
		default:
			value = strings.Join(lines, ", ")
		}
		for member := range split(value, ',') {
			if member != "" && !yield(member) {
				return
			}
		}
	}
}

// HasToken reports whether a token is a member of the list, in upper or lower case.
func HasToken(lines []string, token string) bool {
	for member := range Members(lines) {
		if strings.EqualFold(member, token) {
			return true
		}
	}
	return false
}

// Param is a parameter of a member. Value is what a quoted string stands for.
type Param struct {
	Name     string
	Value    string
	HasValue bool // there was a "="
}

// Parse takes a member apart: a token and its parameters, each a token that may have a
// value, which is a token or a quoted string. ok is false for anything else.
func Parse(member string) (name string, params []Param, ok bool) {
	first := true
	for part := range split(member, ';') {
		if first {
			name, first = part, false
			if !IsToken(name) {
				return "", nil, false
			}
			continue
		}
		p, ok := parseParam(part)
		if !ok {
			return "", nil, false
		}
		params = append(params, p)
	}
	return name, params, true
}

func parseParam(s string) (p Param, ok bool) {
	p.Name, p.Value, p.HasValue = strings.Cut(s, "=")
	p.Name, p.Value = strings.TrimRight(p.Name, " \t"), strings.TrimLeft(p.Value, " \t")
	switch {
	case !IsToken(p.Name):
		return Param{}, false
	case !p.HasValue:
		return p, true
	case strings.HasPrefix(p.Value, `"`):
		p.Value, ok = unquote(p.Value)
		return p, ok
	}
	return p, IsToken(p.Value)
}

// unquote returns what a quoted string stands for.
func unquote(s string) (string, bool) {
	if len(s) < 2 || s[0] != '"' {
		return "", false
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), i == len(s)-1
		case '\\':
			if i++; i == len(s) {
				return "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", false
}

// split yields the parts between separators that are not in a quoted string, without
// the white space around them. A quoted string that does not end goes to the end.
func split(s string, separator byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		from, quoted := 0, false
		for i := 0; i < len(s); i++ {
			switch {
			case s[i] == '"':
				quoted = !quoted
			case s[i] == '\\' && quoted:
				i++
			case s[i] == separator && !quoted:
				if !yield(strings.Trim(s[from:i], " \t")) {
					return
				}
				from = i + 1
			}
		}
		yield(strings.Trim(s[from:], " \t"))
	}
}

// IsToken reports whether s is a token of RFC 9110 (section 5.6.2).
func IsToken(s string) bool {
	for i := range len(s) {
		if !IsTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

// IsTokenByte reports whether a token may have this byte.
func IsTokenByte(c byte) bool { return tokenBytes[c] }

var tokenBytes = func() (is [256]bool) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		is[c] = true
	}
	return is
}()
