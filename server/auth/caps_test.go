package auth

import (
	"regexp"
	"strings"
	"testing"
)

func TestMatchWildcard(t *testing.T) {
	tests := []struct {
		pattern string
		matches string // separated by spaces; _ stands for the empty string
		misses  string
	}{
		{"*", "_ a a:b $a @alice,bob a/b", ""},
		{"user:*", "user: user:1 user:1:inbox user:1/x user:*", "user users _ xuser:1 $user:1"},
		{"news*", "news newsroom news:today", "new xnews News"},
		{"user:*:inbox", "user:1:inbox user:alice@x:inbox user:*:inbox", "user::inbox user:1:2:inbox user:1/2:inbox user:1:inbox2 user:1: user:1 user:"},
		{"*:inbox", "a:inbox", ":inbox a:b:inbox inbox _"},
		{"*/*", "a/ a/b a/b/c", "a /b a:b"},
		{"a/*/b/*", "a/x/b/ a/x/b/y/z", "a//b/c a/x/y/b/z"},
		{"*:*:*", "a:b: a:b:c a:b:c:d", "a:b a::c :b:c"},
		{"plain", "plain", "plain2 plai _"},
	}
	for _, test := range tests {
		if err := checkWildcard(test.pattern); err != nil {
			t.Errorf("%s: %v", test.pattern, err)
		}
		for want, names := range map[bool]string{true: test.matches, false: test.misses} {
			for _, name := range strings.Fields(names) {
				name = strings.ReplaceAll(name, "_", "")
				if matchWildcard(test.pattern, name) != want {
					t.Errorf("%s on %q is %v", test.pattern, name, !want)
				}
			}
		}
	}
	for _, pattern := range []string{"a*b", "*a", "**", "a:*b", "a*:b", "a:**", "*a*", "a:*b:*"} {
		if checkWildcard(pattern) == nil {
			t.Errorf("%s is taken", pattern)
		}
	}
}

func TestAllows(t *testing.T) {
	caps, err := parseCaps([]byte(`[
		{"channels": ["news", "a*"], "allow": ["sub", "hst"]},
		{"channels": ["user:*:in", "room:*", "plain"], "match": "wildcard", "allow": ["sub", "pub"]},
		{"channels": ["room:1"], "allow": ["prs"]},
		{"channels": ["closed"], "allow": []},
		{"channels": ["*"], "match": "wildcard", "allow": ["prs"]}
	]`))
	if err != nil {
		t.Fatal(err)
	}
	c := Claims{Caps: caps}
	tests := []struct {
		channel string
		allowed Action
	}{
		{"news", Subscribe | History},
		{"a*", Subscribe | History}, // exact: no wildcard was asked for
		{"ab", Presence},
		{"newsroom", Presence},
		{"user:1:in", Subscribe | Publish},
		{"plain", Subscribe | Publish},
		{"room:1", Subscribe | Publish}, // the first match decides
		{"closed", 0},
		{"other", Presence},
	}
	for _, test := range tests {
		for _, action := range []Action{Subscribe, Publish, History, Presence, Subscribe | Publish, Subscribe | History} {
			if got, want := c.Allows(test.channel, action), test.allowed&action == action; got != want {
				t.Errorf("%s, action %04b: %v", test.channel, action, got)
			}
		}
	}
	if none := (&Claims{}); none.Allows("news", Subscribe) {
		t.Error("no caps allow something")
	}
}

// FuzzCaps holds the matcher against a regular expression with the same
// meaning.
func FuzzCaps(f *testing.F) {
	f.Add("user:*:inbox", "user:1:inbox")
	f.Add("user:*", "user:")
	f.Add("*/*", "a/b/c")
	f.Add("a*b", "axb")
	f.Add("*", "\xff\x00")
	f.Fuzz(func(t *testing.T, pattern, channel string) {
		if checkWildcard(pattern) != nil {
			return
		}
		var re strings.Builder
		parts := strings.Split(pattern, "*")
		for i, part := range parts {
			re.WriteString(regexp.QuoteMeta(part))
			switch {
			case i == len(parts)-1:
			case i == len(parts)-2 && parts[i+1] == "":
				re.WriteString(`(?s:.*)`)
			default:
				re.WriteString(`[^:/]+`)
			}
		}
		oracle, err := regexp.Compile(`\A` + re.String() + `\z`)
		if err != nil {
			return // the pattern is not UTF-8, which no claim is
		}
		if got, want := matchWildcard(pattern, channel), oracle.MatchString(channel); got != want {
			t.Errorf("%q on %q is %v", pattern, channel, got)
		}
	})
}
