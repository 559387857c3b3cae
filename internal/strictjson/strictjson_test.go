package strictjson

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// What is wrong has line and column.
func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "line 1, column 1: the file is empty",
		"{\n  \"a\": {\n":              "line 3, column 1: unexpected end of JSON input",
		"{\n  \"a\": 1,\n}":            "line 3, column 1: invalid character '}'",
		"{\n  \"a\": 1\n  \"b\": 2\n}": "line 3, column 3: invalid character '\"' after object key:value pair",
		"{\"ä\": 1 x}":                 "line 1, column 9: invalid character 'x'",
		"{} {}":                        "line 1, column 4: invalid character '{' after top-level value",
		"{\n\t// no comments\n}":       "line 2, column 2: invalid character '/'",
		"{\"a\": \"\xff\"}":            "line 1, column 8: not UTF-8",
		"\ufeff{\n\"a\": 01}":          "line 2, column 7: invalid character '1'",
		"namespaces:":                  "line 1, column 2: invalid character 'a'",
	} {
		_, err := Parse([]byte(text))
		if at := (*Error)(nil); err == nil || !errors.As(err, &at) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if v, err := Parse([]byte("\ufeff {\"a\": [1, 2]} ")); err != nil || string(v.Text()) != `{"a": [1, 2]}` {
		t.Errorf("%s, %v", v.Text(), err)
	}
}

func TestFields(t *testing.T) {
	v, err := Parse([]byte("{\n  \"a\" : {\"x\": [1, \"}\"], \"y\":\n null},\n  \"history_sise\": 5 }"))
	if err != nil {
		t.Fatal(err)
	}
	fields, err := v.Fields()
	if err != nil || len(fields) != 2 || fields[0].Name != "a" || string(fields[1].Text()) != "5" {
		t.Fatalf("%v, %v", fields, err)
	}
	inner, err := fields[0].Fields()
	if err != nil || len(inner) != 2 || string(inner[0].Text()) != `[1, "}"]` || string(inner[1].Text()) != "null" {
		t.Fatalf("%v, %v", inner, err)
	}
	for _, test := range []struct {
		err  error
		want string
	}{
		{inner[1].Wrong(errors.New("no")), "line 2, column 25: no"},
		{inner[1].Value.Wrong(errors.New("no")), "line 3, column 2: no"},
		{fields[1].Unknown("history_size", "history_ttl"), `line 4, column 3: unknown name "history_sise"; did you mean "history_size"?`},
		{fields[1].Unknown("a", "b"), `line 4, column 3: unknown name "history_sise", which is none of a, b`},
	} {
		if test.err.Error() != test.want {
			t.Errorf("%v, want %s", test.err, test.want)
		}
	}
	if _, err := fields[1].Fields(); err == nil || err.Error() != "line 4, column 19: this is not an object: {…}" {
		t.Errorf("%v", err)
	}
	twice, _ := Parse([]byte("{\"a\": 1,\n\"a\": 2}"))
	if _, err := twice.Fields(); err == nil || err.Error() != `line 2, column 1: "a" is there twice` {
		t.Errorf("%v", err)
	}
}

// FuzzParse: what Parse takes encoding/json takes, and Fields gives an object's
// values as they stand.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"a":1}`, "{\n\"a\": {\"b\": [\"\\\"\"]} , \"\\u0063\":null}", `[]`, `{"a":`, "\ufeff{}", "{\"a\":1}x", "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := Parse(text)
		if err != nil {
			return
		}
		var object map[string]json.RawMessage
		isObject := json.Unmarshal(v.Text(), &object) == nil && object != nil
		fields, err := v.Fields()
		if !isObject {
			if err == nil {
				t.Fatalf("%q has fields", text)
			}
			return
		}
		for _, field := range fields {
			if got, want := string(field.Text()), string(object[field.Name]); err == nil && got != want {
				t.Errorf("%q is %q, want %q", field.Name, got, want)
			}
			if err := field.Wrong(errors.New("x")); err.(*Error).Line < 1 {
				t.Error(err)
			}
		}
	})
}
