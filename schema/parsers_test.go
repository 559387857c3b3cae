package schema

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

// Whatever the gate takes, the parsers that clients use can read, and they
// agree on its type and on all it says: with Go's, Python's and JavaScript's
// here. It runs where they are installed.
func TestOtherParsers(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	texts, types := acceptedTexts(t, rand.New(rand.NewPCG(seed, 1)))
	var input bytes.Buffer
	for _, text := range texts {
		input.WriteString(base64.StdEncoding.EncodeToString(text) + "\n")
	}
	for _, command := range [][]string{{"python3", "testdata/parse.py"}, {"node", "testdata/parse.mjs"}} {
		t.Run(command[0], func(t *testing.T) {
			if _, err := exec.LookPath(command[0]); err != nil {
				t.Skipf("%s is not installed", command[0])
			}
			cmd := exec.CommandContext(t.Context(), command[0], command[1])
			cmd.Stdin = bytes.NewReader(input.Bytes())
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v: %s", err, stderr.Bytes())
			}
			lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
			if len(lines) != len(texts) {
				t.Fatalf("%d texts gave %d lines", len(texts), len(lines))
			}
			for i, line := range lines {
				compareParsed(t, texts[i], types[i], line)
			}
		})
	}
}

// compareParsed compares what another parser has made of a text with what
// encoding/json does, and its type with the vector's, if there is one.
func compareParsed(t *testing.T, text []byte, vectorType *string, line string) {
	t.Helper()
	kind, value, ok := strings.Cut(line, " ")
	if !ok || kind == "error" {
		t.Errorf("%.200q cannot be parsed: %s", text, line)
		return
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Errorf("%.200q: encoding/json: %v", text, err)
		return
	}
	want := "-"
	if object, isObject := v.(map[string]any); isObject {
		if s, isString := object["type"].(string); isString {
			want = utf16Hex(s)
		}
	}
	if kind != want || vectorType != nil && kind != utf16Hex(*vectorType) {
		t.Errorf("%.200q has the type %s, encoding/json says %s", text, kind, want)
	}
	// Names that are halves of pairs are one name in Go and two elsewhere.
	if c := canonical(v); c != value && !HalfPair(text) {
		t.Errorf("%.200q is\n%.300s, encoding/json says\n%.300s", text, value, c)
	}
}

// acceptedTexts returns texts that the gate takes: the vectors, and made ones.
// types are the vectors'.
func acceptedTexts(t *testing.T, r *rand.Rand) (texts [][]byte, types []*string) {
	for _, v := range readVectors(t) {
		if v.Valid {
			texts, types = append(texts, v.bytes()), append(types, v.Type)
		}
	}
	texts = append(texts, []byte(nested(MaxLevels, "[", `"type":"text",`)), []byte(nested(MaxLevels, "{", "")))
	vectors, enough := len(texts), len(texts)+3000
	for tries := 0; len(texts) < enough; tries++ {
		if tries > 100*enough {
			t.Fatalf("only %d of %d made texts were taken", len(texts), tries)
		}
		var text []byte
		if r.IntN(2) == 0 {
			text = appendRandom(nil, r, 0)
		} else { // one that is nearly taken, or nearly not
			text = bytes.Clone(texts[r.IntN(vectors)])
			for range 1 + r.IntN(3) {
				text = mutate(text, r)
			}
		}
		if _, err := CheckData(text); err == nil {
			texts = append(texts, text)
		}
	}
	return texts, append(types, make([]*string, len(texts)-len(types))...)
}

// appendRandom appends a random value, written in one of many ways.
func appendRandom(b []byte, r *rand.Rand, depth int) []byte {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	name := func() string {
		return pick(`"type"`, `"ty\u0070e"`, `"\u0074ype"`, `"Type"`, `"text"`, `"a"`, `"é"`, `"\ud83d\ude00"`, `"__proto__"`, `""`, `"10"`, `"\u0000"`)
	}
	space := func() string { return pick("", "", "", " ", "\n", "\t\r\n ") }
	n := r.IntN(4)
	switch kind := r.IntN(8); {
	case kind < 3 && depth < 6 || depth == 0:
		b = append(b, '{')
		for i := range n {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, space()+name()+space()+":"+space()...)
			b = appendRandom(b, r, depth+1)
			b = append(b, space()...)
		}
		return append(b, '}')
	case kind < 5 && depth < 6:
		b = append(b, '[')
		for i := range n {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendRandom(append(b, space()...), r, depth+1)
		}
		return append(append(b, space()...), ']')
	case kind < 7:
		return append(b, pick(`"delete"`, `"d\u0065lete"`, `"text"`, `"edit "`, name(), `"\/\b\f\n\r\t\"\\"`, `"`+string(rune(0x80+r.IntN(0xd000)))+`"`)...)
	}
	return append(b, pick("null", "true", "false", "0", "-0", "1e999", "-1E-999", "9007199254740993", "0.1", strconv.FormatFloat(r.NormFloat64(), 'g', -1, 64),
		strings.Repeat("7", 1+r.IntN(400)))...)
}

// mutate changes, inserts, removes or repeats a few bytes.
func mutate(b []byte, r *rand.Rand) []byte {
	const bytesOfJSON = "{}[]\",:\\u0dt8efalsn 1-.\n\x00\xff"
	i := r.IntN(len(b) + 1)
	switch c := bytesOfJSON[r.IntN(len(bytesOfJSON))]; r.IntN(4) {
	case 0:
		return slices.Insert(b, i, c)
	case 1:
		if i < len(b) {
			b[i] = c
		}
		return b
	case 2:
		return slices.Delete(b, i, min(len(b), i+1))
	default:
		j := i + r.IntN(len(b)-i+1)
		return slices.Insert(b, j, bytes.Clone(b[i:j])...)
	}
}

// canonical writes a value as testdata/parse.py and parse.mjs do.
func canonical(v any) string {
	switch v := v.(type) {
	case nil:
		return "n"
	case bool:
		return map[bool]string{true: "t", false: "f"}[v]
	case json.Number:
		f, _ := strconv.ParseFloat(v.String(), 64) // infinite where no double is so large
		if f == 0 {
			return "#0000000000000000" // -0 is 0
		}
		return fmt.Sprintf("#%016x", math.Float64bits(f))
	case string:
		return `"` + utf16Hex(v)
	case []any:
		items := make([]string, len(v))
		for i := range v {
			items[i] = canonical(v[i])
		}
		return "[" + strings.Join(items, ",") + "]"
	case map[string]any:
		items := make([]string, 0, len(v))
		for name, value := range v {
			items = append(items, utf16Hex(name)+":"+canonical(value))
		}
		slices.Sort(items)
		return "{" + strings.Join(items, ",") + "}"
	}
	return "?"
}

func utf16Hex(s string) string {
	var b strings.Builder
	for _, unit := range utf16.Encode([]rune(s)) {
		fmt.Fprintf(&b, "%04x", unit)
	}
	return b.String()
}
