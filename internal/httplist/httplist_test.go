package httplist

import (
	"slices"
	"strings"
	"testing"
)

func TestMembers(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		want  []string
	}{
		{"none", nil, nil},
		{"one", []string{"websocket"}, []string{"websocket"}},
		{"two lines", []string{"keep-alive", "Upgrade"}, []string{"keep-alive", "Upgrade"}},
		{"one line of two", []string{"h2c,\t websocket "}, []string{"h2c", "websocket"}},
		{"empty ones", []string{", a,,", "", " ,b"}, []string{"a", "b"}},
		{"a comma in quotes", []string{`a; b="x, y", c`}, []string{`a; b="x, y"`, "c"}},
		{"a quote in quotes", []string{`a="\", b", c`}, []string{`a="\", b"`, "c"}},
		{"quotes that do not end", []string{`a="b, c`}, []string{`a="b, c`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := slices.Collect(Members(c.lines)); !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
	for _, c := range []struct {
		line string
		want bool
	}{{"keep-alive, UPGRADE", true}, {"keep-alive", false}, {"upgraded", false}, {`"upgrade"`, false}, {"", false}} {
		if got := HasToken([]string{"x", c.line}, "Upgrade"); got != c.want {
			t.Errorf("HasToken(%q) is %v", c.line, got)
		}
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		member string
		name   string
		params []Param
		bad    bool
	}{
		{"a", "a", nil, false},
		{"a; b", "a", []Param{{"b", "", false}}, false},
		{`a;b=1 ; c = "x\"y;z"`, "a", []Param{{"b", "1", true}, {"c", `x"y;z`, true}}, false},
		{`a;b=""`, "a", []Param{{"b", "", true}}, false},
		{"a;", "", nil, true},
		{"a;;b", "", nil, true},
		{"", "", nil, true},
		{"a b", "", nil, true},
		{"a;b=", "", nil, true},
		{"a;=b", "", nil, true},
		{`a;b="x`, "", nil, true},
		{`a;b="x"y`, "", nil, true},
		{`a;b="x\`, "", nil, true},
		{"a=b", "", nil, true},
	} {
		name, params, ok := Parse(c.member)
		if ok == c.bad || name != c.name || !slices.Equal(params, c.params) {
			t.Errorf("Parse(%q) is %q, %+v, %v", c.member, name, params, ok)
		}
	}
}

// FuzzMembers: however a list is spread over lines, its members are the same; and what
// one member is, alone or among others, does not change.
func FuzzMembers(f *testing.F) {
	for _, s := range []string{"a,b", `a="x,y",b`, `a="\",`, ",,", "\t", `permessage-deflate; client_max_window_bits="1\5", x`} {
		f.Add(s, "c")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		apart, joined := slices.Collect(Members([]string{a, b})), slices.Collect(Members([]string{a + ", " + b}))
		if !slices.Equal(apart, joined) {
			t.Fatalf("two lines are %q, and joined %q", apart, joined)
		}
		for i, m := range apart {
			if m == "" || strings.Trim(m, " \t") != m {
				t.Fatalf("member %q of %q", m, apart)
			}
			alone := slices.Collect(Members([]string{m}))
			if i < len(apart)-1 && !slices.Equal(alone, []string{m}) {
				t.Fatalf("%q is %q when it is alone", m, alone)
			}
			if name, params, ok := Parse(m); ok && (!IsToken(name) || slices.ContainsFunc(params, func(p Param) bool { return !IsToken(p.Name) })) {
				t.Fatalf("%q is %q with %+v", m, name, params)
			}
		}
	})
}
