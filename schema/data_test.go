package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// vector is one case of testdata/data.json: what the gate says of a text.
type vector struct {
	Name     string
	Text     string
	Base64   []byte // in the place of a text that is not Unicode
	Valid    bool
	Type     *string // of the last "type", where that is a string
	Reserved bool
}

func (v *vector) bytes() []byte {
	if v.Base64 != nil {
		return v.Base64
	}
	return []byte(v.Text)
}

func readVectors(t testing.TB) (list []vector) {
	t.Helper()
	text, err := os.ReadFile("testdata/data.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &list); err != nil || len(list) < 100 {
		t.Fatalf("%d vectors, %v", len(list), err)
	}
	return list
}

// nested returns an object of so many levels, of lists or of objects, after
// some fields.
func nested(levels int, inner, fields string) string {
	open, shut := "[", "]"
	if inner == "{" {
		open, shut = `{"x":`, "}"
	}
	return `{` + fields + `"x":` + strings.Repeat(open, levels-1) + "1" + strings.Repeat(shut, levels-1) + `}`
}

// The gate decides as the vectors say, whoever publishes.
func TestDataVectors(t *testing.T) {
	for _, v := range readVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			data := v.bytes()
			got, err := CheckData(data)
			if (err == nil) != v.Valid || err != nil && !errors.Is(err, ErrBadRequest) {
				t.Errorf("CheckData(%.100q): %v", data, err)
			}
			if err == nil && (bytes.IndexByte(got, '\n') >= 0 || !json.Valid(got)) {
				t.Errorf("CheckData(%.100q) = %q", data, got)
			}
			if _, err := CheckClientData(data); (err == nil) != (v.Valid && !v.Reserved) {
				t.Errorf("CheckClientData(%.100q): %v", data, err)
			}
			checkGate(t, data)
		})
	}
}

// A reserved type is seen, or the data refused, however deep the rest of them
// is: no depth divides the parser that finds data valid from the one that reads
// their type, and no data that is valid for one reader kills another.
func TestLevels(t *testing.T) {
	for _, kind := range []string{"[", "{"} {
		for _, levels := range []int{1, 2, MaxLevels - 1, MaxLevels, MaxLevels + 1, 128, 129, 512, 1000, 9_999, 10_000, 10_001, 30_000, 1 << 20} {
			plain := []byte(nested(levels, kind, ""))
			if _, err := CheckData(plain); (err == nil) != (levels <= MaxLevels) {
				t.Errorf("%d levels of %s: %v", levels, kind, err)
			}
			for _, fields := range []string{`"type":"delete","of":7,`, `"ty\u0070e":"edit",`} {
				text := nested(levels, kind, fields)
				if _, err := CheckClientData([]byte(text)); err == nil {
					t.Errorf("%d levels of %s with %s are taken", levels, kind, fields)
				}
				behind := strings.TrimSuffix(text, "}") + `,"type":"read"}`
				if _, err := CheckClientData([]byte(behind)); err == nil {
					t.Errorf("%d levels of %s before a type are taken", levels, kind)
				}
			}
		}
	}
	if MaxLevels < 64 || MaxLevels > 100 { // .NET's readers, and Ruby's and MySQL's
		t.Errorf("MaxLevels is %d", MaxLevels)
	}
}

// What is in a store stays readable, in its place, whatever it is.
func TestMakeReadable(t *testing.T) {
	const gone = `{"type":"unreadable"}`
	for _, c := range []struct{ data, info, wantData, wantInfo string }{
		{`{"text":"hi"}`, `{"name":"A"}`, `{"text":"hi"}`, `{"name":"A"}`},
		{`{"type":"delete","of":1}`, ``, `{"type":"delete","of":1}`, ``},
		{nested(MaxLevels+1, "[", ""), nested(MaxLevels+1, "[", ""), nested(MaxLevels+1, "[", ""), nested(MaxLevels+1, "[", "")},
		{nested(512, "{", ""), ``, nested(512, "{", ""), ``},
		{nested(513, "[", ""), nested(513, "[", ""), gone, ``},
		{nested(20_000, "{", ""), ``, gone, ``},
		{"{\n\"a\":1\n}", "\n1\n", `{"a":1}`, `1`},
		{``, `{`, gone, ``}, {`{"text":`, ``, gone, ``}, {"\"\xff\"", "\"\xff\"", gone, ``}, {`1}{`, ``, gone, ``}, {strings.Repeat("9", 5000), ``, gone, ``},
	} {
		m := Message{Room: "r", Offset: 7, Prev: 3, User: "u", Data: []byte(c.data), Info: []byte(c.info)}
		m.MakeReadable()
		if string(m.Data) != c.wantData || string(m.Info) != c.wantInfo || m.Offset != 7 || m.Prev != 3 || m.User != "u" {
			t.Errorf("%.60q, %.60q became %.60q, %.60q", c.data, c.info, m.Data, m.Info)
		}
	}
}

// checkGate compares the gate's verdict with encoding/json's, token by token.
func checkGate(t *testing.T, data []byte) {
	t.Helper()
	levels, longest, reserved, valid := describe(data)
	fits := levels <= MaxLevels && longest <= MaxNumber
	out, err := CheckData(data)
	if (err == nil) != (valid && fits) {
		t.Fatalf("CheckData(%.200q): %v; encoding/json: valid %v, %d levels, a number of %d", data, err, valid, levels, longest)
	}
	_, clientErr := CheckClientData(data)
	if (clientErr == nil) != (err == nil && !reserved) {
		t.Fatalf("CheckClientData(%.200q): %v; encoding/json: reserved %v", data, clientErr, reserved)
	}
	m := Message{Data: bytes.Clone(data), Info: bytes.Clone(data)}
	m.MakeReadable()
	if !json.Valid(m.Data) || len(m.Info) > 0 && !json.Valid(m.Info) || bytes.IndexByte(m.Data, '\n') >= 0 {
		t.Fatalf("%.200q is shown as %.200q, %.200q", data, m.Data, m.Info)
	}
	if err != nil {
		return
	}
	var before, after bytes.Buffer
	if json.Compact(&before, data) != nil || json.Compact(&after, out) != nil || before.String() != after.String() || bytes.IndexByte(out, '\n') >= 0 {
		t.Fatalf("%.200q became %.200q", data, out)
	}
}

// describe says of a text what encoding/json knows: how many levels it has, how
// long its longest number is, and whether one of its types is reserved. What
// is deeper than encoding/json can go has 10,001 levels.
func describe(data []byte) (levels, longest int, reserved, valid bool) {
	if !utf8.Valid(data) {
		return 0, 0, false, false
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	type container struct{ object, named bool }
	var open []container
	name := ""
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			break
		}
		top := len(open) - 1
		isName := top >= 0 && open[top].object && !open[top].named
		switch v := token.(type) {
		case json.Delim:
			if v == '}' || v == ']' {
				open = open[:top]
				continue
			}
			if top >= 0 {
				open[top].named = false
			}
			open = append(open, container{object: v == '{'})
			levels = max(levels, len(open))
			continue
		case json.Number:
			longest = max(longest, len(v))
		case string:
			if isName {
				open[top].named, name = true, v
				continue
			}
			if top == 0 && open[0].object && name == "type" {
				reserved = reserved || slices.Contains([]string{"edit", "delete", "react", "typing", "read"}, v)
			}
		}
		if top >= 0 {
			open[top].named = false
		}
	}
	return levels, longest, reserved, json.Valid(data) || levels > 10_000
}

// FuzzCheckData holds the gate against encoding/json.
func FuzzCheckData(f *testing.F) {
	for _, v := range readVectors(f) {
		f.Add(v.bytes())
	}
	for _, levels := range []int{MaxLevels, MaxLevels + 1, 600} {
		f.Add([]byte(nested(levels, "[", `"type":"read",`)))
	}
	f.Fuzz(func(t *testing.T, data []byte) { checkGate(t, data) })
}

// Names that are not Unicode are found before a decoder replaces them.
func TestHalfPair(t *testing.T) {
	for text, want := range map[string]bool{
		`"a"`: false, `"\u0041"`: false, `"\ud83d\ude00"`: false, `"\\ud800"`: false, `"\\\\ud800x"`: false, `"\n\ud83d\ude00\t"`: false, `"\uFFFD"`: false,
		`"\ud800"`: true, `"\uDFFF"`: true, `"\ud83d"`: true, `"\ud83dx\ude00"`: true, `"\ud83d\ud83d\ude00"`: true, `"\ude00\ud83d"`: true, `"\\\ud800"`: true,
		`"\ud83d\ude00\ude00"`: true, `"\ud800\u0041"`: true, `{"\udc00":1}`: true, `["\ud83d","\ude00"]`: true,
		`"\`: false, `"\u`: false, `"\ud8`: false,
	} {
		if got := HalfPair([]byte(text)); got != want {
			t.Errorf("HalfPair(%s) = %v", text, got)
		}
		s, err := Unquote([]byte(text))
		if text[0] == '"' && json.Valid([]byte(text)) && (err != nil) != want {
			t.Errorf("Unquote(%s) = %q, %v", text, s, err)
		}
	}
}

// FuzzUnquote: where half a pair is, encoding/json has replaced something, and
// what is let through means what encoding/json says.
func FuzzUnquote(f *testing.F) {
	for _, s := range []string{`"a"`, `"\ud800"`, `"\ud83d\ude00"`, `"�"`, `"\\\ud800"`, `"\ufffd"`, "\"\xff\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var want string
		if len(text) == 0 || text[0] != '"' || json.Unmarshal(text, &want) != nil {
			_ = HalfPair(text) // which must not panic
			return
		}
		text = bytes.TrimRight(text, " \t\r\n")
		got, err := Unquote(text)
		if err == nil && got != want || err == nil && (HalfPair(text) || !utf8.Valid(text)) {
			t.Fatalf("Unquote(%q) = %q, want %q", text, got, want)
		}
		if err != nil && !strings.ContainsRune(want, utf8.RuneError) {
			t.Fatalf("Unquote(%q) is refused, and is %q", text, want)
		}
	})
}

// An ordinary message passes without an allocation.
func TestGateAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, text := range []string{
		`{"text":"hi"}`, `{"type":"text","text":"a \"quoted\" word"}`, `{"имя":"Алиса","a":[{"type":"delete"}]}`, nested(MaxLevels, "{", `"type":"vote",`),
	} {
		data := []byte(text)
		if n := testing.AllocsPerRun(100, func() {
			if _, err := CheckClientData(data); err != nil {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("%.40s: %v allocations", text, n)
		}
	}
}

func BenchmarkCheckClientData(b *testing.B) {
	for _, c := range []struct{ name, data string }{
		{"text", `{"text":"hi there, how are you today?"}`},
		{"text100", `{"text":"` + strings.Repeat("x", 100) + `"}`},
		{"typed", `{"type":"text","text":"hi there, how are you today?"}`},
		{"cyrillic", `{"text":"` + strings.Repeat("привет ", 20) + `"}`},
		{"4k", `{"text":"` + strings.Repeat("x", 4000) + `"}`},
		{"nested", `{"a":[1,2,3,{"b":{"c":[true,false,null]}}],"d":{"e":"f","g":[{"h":1},{"h":2},{"h":3}]}}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			data := []byte(c.data)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := CheckClientData(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
