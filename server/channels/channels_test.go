package channels

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hubbub-chat/hubbub/schema"
)

const testFile = `{
	"default":    {"presence": "subscribers"},
	"namespaces": {
		"public": {"join_leave": true},
		"news":   {"publish": "nobody", "history": "users"},
		"staff":  {"subscribe": "users", "publish": "subscribers", "history": "subscribers", "history_size": 50, "history_ttl": "1h"},
		"typing": {"ephemeral": true},
		"crowd":  {"presence": "off"}
	}
}`

func TestParse(t *testing.T) {
	n, err := Parse([]byte(testFile))
	if err != nil {
		t.Fatal(err)
	}
	staff, err := n.Of("staff:1")
	if err != nil || staff.HistorySize != 50 || staff.Presence != Subscribers || !staff.Recovery {
		t.Errorf("staff is %+v, %v", staff, err)
	}
	if typing, _ := n.Of("typing:1"); !typing.Ephemeral || typing.Recovery {
		t.Errorf("typing is %+v", typing)
	}
	if _, err := n.Of("other:1"); !errors.Is(err, schema.ErrUnknownChannel) {
		t.Errorf("an unknown namespace gives %v", err)
	}
	if _, err := Open().Of("other:1"); err != nil {
		t.Errorf("without a file an unknown namespace gives %v", err)
	}
	if n, err := Parse([]byte(`{"default": {"history_size": 5}}`)); err != nil {
		t.Error(err)
	} else if o, err := n.Of("other:1"); err != nil || o.HistorySize != 5 {
		t.Errorf("a file without namespaces gives %+v, %v", o, err)
	}
	for name, bad := range map[string]string{
		"unknown key":           `{"namespace": {}}`,
		"unknown option":        `{"namespaces": {"a": {"colour": 1}}}`,
		"unknown who":           `{"namespaces": {"a": {"publish": "friends"}}}`,
		"colon in a name":       `{"namespaces": {"a:b": {}}}`,
		"empty name":            `{"namespaces": {"": {}}}`,
		"number as a duration":  `{"default": {"history_ttl": 5}}`,
		"subscribe subscribers": `{"default": {"subscribe": "subscribers"}}`,
		"history off":           `{"default": {"history": "off"}}`,
		"recovery of nothing":   `{"namespaces": {"a": {"ephemeral": true, "recovery": true}}}`,
		"two values":            `{} {}`,
		"half a surrogate pair": `{"namespaces": {"a\ud800": {}}}`,
		"not UTF-8":             "{\"namespaces\": {\"a\xff\": {}}}",
		"not JSON":              `namespaces:`,
	} {
		if _, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%s is accepted: %s", name, bad)
		}
	}
}

// What is wrong in a file is named with its line and column.
func TestParseSaysWhere(t *testing.T) {
	for text, want := range map[string]string{
		"{\n  \"default\": {\n":                                             "line 3, column 1: unexpected end of JSON input",
		"{\n  \"default\": {\"join_leave\": true},\n}":                      "line 3, column 1: invalid character '}'",
		"{\n  \"namespace\": {}\n}":                                         `line 2, column 3: unknown name "namespace"; did you mean "namespaces"?`,
		"{\"namespaces\": {\n  \"a\": {},\n  \"b\": {\"historysize\": 1}}}": `line 3, column 9: unknown name "historysize"; did you mean "history_size"?`,
		"{\"namespaces\": {\n  \"a\": {\"publish\": \"friends\"}}}":         `line 2, column 20: publish: "friends" is not one of anyone`,
		"{\"default\": {\n \"history_size\": \"5\"}}":                       "line 2, column 18: history_size: a string, where a whole number belongs",
		"{\"default\": {\n \"recovery\": 1}}":                               "line 2, column 14: recovery: a number, where true or false belongs",
		"{\"default\": {\n \"publish\": 1}}":                                "line 2, column 13: publish: a number, where a string belongs",
		"{\"default\": {\n \"history_ttl\": 5}}":                            `line 2, column 17: history_ttl: a duration is written as a string`,
		"{\n\"namespaces\": {\"a\": {\"history_size\": -1}}}":               "line 2, column 16: a: history_size -1",
		"{\n\"namespaces\": {\"a\": {}, \"a\": {}}}":                        `line 2, column 25: "a" is there twice`,
		"{\n\"namespaces\": {\"b\": {}, \"a\\ud800\": {}}}":                 "line 2, column 25: half a surrogate pair",
		"{\n\"namespaces\": [\"a\"]}":                                       "line 2, column 15: this is not an object",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// The matrix: every action of every kind of caller in every kind of channel.
// s, p, h and r stand for the actions that are allowed.
func TestAuthorize(t *testing.T) {
	n, err := Parse([]byte(testFile))
	if err != nil {
		t.Fatal(err)
	}
	grant := func(channel string, a Action) bool { return strings.Contains(channel, "$") || a == Publish }
	callers := []struct {
		name string
		c    Caller
	}{
		{"guest", Caller{}},
		{"member", Caller{Subscribed: true}},
		{"user", Caller{User: "alice"}},
		{"user member", Caller{User: "alice", Subscribed: true}},
		{"granted", Caller{User: "carol", Grants: grant}},
		{"server", Caller{Server: true}},
	}
	for _, row := range []struct {
		channel string
		want    [6]string
	}{
		{"lobby", [6]string{"sph", "sphr", "sph", "sphr", "sph", "sphr"}},
		{"public:1", [6]string{"sph", "sphr", "sph", "sphr", "sph", "sphr"}},
		{"news:1", [6]string{"s", "sr", "sh", "shr", "sph", "sphr"}},
		{"staff:1", [6]string{"", "phr", "s", "sphr", "sp", "sphr"}},
		{"typing:1", [6]string{"sp", "spr", "sp", "spr", "sp", "spr"}},
		{"crowd:1", [6]string{"sph", "sph", "sph", "sph", "sph", "sph"}},
		{"crowd:$a", [6]string{"", "ph", "", "ph", "sph", "sph"}},
		{"$team", [6]string{"", "phr", "", "phr", "sphr", "sphr"}},
		{"public:$team", [6]string{"", "phr", "", "phr", "sphr", "sphr"}},
		{"@alice,bob", [6]string{"", "", "sphr", "sphr", "", "sphr"}},
		{"@bob,carol", [6]string{"", "", "", "", "sphr", "sphr"}},
		{"@bob,alice", [6]string{"", "", "", "", "", "sphr"}},
		{"@alice", [6]string{"", "", "", "", "", "sphr"}},
		{"unknown:1", [6]string{}},
	} {
		for i, caller := range callers {
			t.Run(fmt.Sprint(row.channel, " ", caller.name), func(t *testing.T) {
				got := ""
				for a := range NumActions {
					if n.Authorize(caller.c, a, row.channel) == nil {
						got += string("sphr"[a])
					}
				}
				if got != row.want[i] {
					t.Errorf("may %q, want %q", got, row.want[i])
				}
			})
		}
	}
}

// The wrong one of the two names of a direct-message room is found, and what
// is no such name is left to others.
func TestCheckOrder(t *testing.T) {
	for name, right := range map[string]string{
		"@bob,alice": "@alice,bob", "@b,a": "@a,b", "@zo\u00eb,zoe": "@zoe,zo\u00eb", "@\U0001f600,\uffff": "@\uffff,\U0001f600",
		"@alice,bob": "", "@a,a": "", "@b": "", "@b,": "", "@,a": "", "@c,b,a": "", "b,a": "", "$@b,a": "", "x:@b,a": "",
	} {
		err := CheckOrder(name)
		if right == "" && err != nil || right != "" && (!errors.Is(err, schema.ErrBadRequest) || !strings.HasSuffix(err.Error(), " "+right)) {
			t.Errorf("CheckOrder(%q) = %v, want %q named", name, err, right)
		}
	}
}
