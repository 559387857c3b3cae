package main

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/hubbub-chat/hubbub/server/api"
)

// document is docs/openapi.yaml, as JSON would be decoded.
type document map[string]any

func readDocument(t *testing.T, name string) document {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(stringKeys(tree))
	if err != nil {
		t.Fatal(err)
	}
	var d document
	if err := json.Unmarshal(asJSON, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// stringKeys makes of YAML's maps those of JSON: 3000 is a key there.
func stringKeys(v any) any {
	switch v := v.(type) {
	case map[any]any:
		object := make(map[string]any, len(v))
		for key, value := range v {
			object[fmt.Sprint(key)] = stringKeys(value)
		}
		return object
	case map[string]any:
		for key, value := range v {
			v[key] = stringKeys(value)
		}
	case []any:
		for i, value := range v {
			v[i] = stringKeys(value)
		}
	}
	return v
}

// at follows keys and references. It returns nil where there is nothing.
func (d document) at(from any, keys ...string) any {
	for _, key := range keys {
		object, _ := d.resolve(from).(map[string]any)
		from = object[key]
	}
	return d.resolve(from)
}

func (d document) resolve(v any) any {
	for {
		object, _ := v.(map[string]any)
		ref, ok := object["$ref"].(string)
		if !ok {
			return v
		}
		path, ok := strings.CutPrefix(ref, "#/")
		if !ok {
			return nil
		}
		v = map[string]any(d)
		for key := range strings.SplitSeq(path, "/") {
			object, _ := v.(map[string]any)
			v = object[key]
		}
	}
}

// valid checks a value against a schema, as far as our documents use the
// language. What a schema with properties does not name is an error too: it
// would not be documented.
func (d document) valid(v, schema any, where string) error {
	s, ok := d.resolve(schema).(map[string]any)
	if !ok {
		return fmt.Errorf("%s: there is no schema", where)
	}
	switch kind := s["type"]; kind {
	case nil:
		return nil // any value
	case "object":
		object, ok := v.(map[string]any)
		if !ok {
			return fmt.Errorf("%s: %v is not an object", where, v)
		}
		return d.validObject(object, s, where)
	case "array":
		list, ok := v.([]any)
		if !ok || !within(s, "minItems", "maxItems", float64(len(list))) {
			return fmt.Errorf("%s: %v is not such an array", where, v)
		}
		for i, item := range list {
			if err := d.valid(item, s["items"], fmt.Sprintf("%s[%d]", where, i)); err != nil {
				return err
			}
		}
	case "string":
		if text, ok := v.(string); !ok || !within(s, "minLength", "maxLength", float64(len(text))) {
			return fmt.Errorf("%s: %v is not such a string", where, v)
		}
	case "integer":
		if n, ok := v.(float64); !ok || n != math.Trunc(n) || !within(s, "minimum", "maximum", n) {
			return fmt.Errorf("%s: %v is not such an integer", where, v)
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			return fmt.Errorf("%s: %v is not a boolean", where, v)
		}
	default:
		return fmt.Errorf("%s: type %v", where, kind)
	}
	return nil
}

func (d document) validObject(object, s map[string]any, where string) error {
	if !within(s, "minProperties", "maxProperties", float64(len(object))) {
		return fmt.Errorf("%s: %d properties", where, len(object))
	}
	required, _ := s["required"].([]any)
	for _, name := range required {
		if _, ok := object[name.(string)]; !ok {
			return fmt.Errorf("%s: %s is missing", where, name)
		}
	}
	properties, strict := s["properties"].(map[string]any)
	for name, value := range object {
		sub, known := properties[name]
		if !known {
			if sub = s["additionalProperties"]; sub == nil {
				if strict {
					return fmt.Errorf("%s: %s is not documented", where, name)
				}
				continue
			}
		}
		if err := d.valid(value, sub, where+"."+name); err != nil {
			return err
		}
	}
	return nil
}

func within(s map[string]any, low, high string, n float64) bool {
	least, ok := s[low].(float64)
	if ok && n < least {
		return false
	}
	most, ok := s[high].(float64)
	return !ok || n <= most
}

// What docs/openapi.yaml says is what is served: the same methods, requests
// that work as they stand there, answers with all that is required and nothing
// that is not documented.
func TestOpenAPI(t *testing.T) {
	d := readDocument(t, "../docs/openapi.yaml")
	d.checkReferences(t, map[string]any(d), "")
	b := startAPI(t)
	paths, _ := d["paths"].(map[string]any)
	var documented []string
	for path := range paths {
		documented = append(documented, strings.TrimPrefix(path, "/"))
	}
	slices.Sort(documented)
	if !slices.Equal(documented, api.Methods()) {
		t.Fatalf("documented: %v, served: %v", documented, api.Methods())
	}
	for _, name := range documented {
		t.Run(name, func(t *testing.T) {
			post := d.at(paths["/"+name], "post")
			request := d.at(post, "requestBody", "content", "application/json")
			answer := d.at(post, "responses", "200", "content", "application/json")
			example, wanted := d.at(request, "example"), d.at(answer, "example")
			if err := d.valid(example, d.at(request, "schema"), "the example request"); err != nil {
				t.Error(err)
			}
			if err := d.valid(wanted, d.at(answer, "schema"), "the example answer"); err != nil {
				t.Error(err)
			}
			body, err := json.Marshal(example)
			if err != nil {
				t.Fatal(err)
			}
			status, text := b.post(name, string(body))
			var got map[string]any
			if err := json.Unmarshal([]byte(text), &got); err != nil || status != http.StatusOK {
				t.Fatalf("%d %q, %v", status, text, err)
			}
			if err := d.valid(got, d.at(answer, "schema"), "the answer"); err != nil {
				t.Errorf("%v\n%s", err, text)
			}
			// The example does what it shows: a result where it has one.
			for key := range wanted.(map[string]any) {
				if got[key] == nil {
					t.Errorf("the answer has no %s: %s", key, text)
				}
			}
			b.refusals(d, post, name)
		})
	}
}

// refusals checks an answer that is not 200 against what is documented of it.
func (b *backend) refusals(d document, post any, name string) {
	b.t.Helper()
	for status, body := range map[string]string{"400": "[]", "200": "{}"} {
		code, text := b.post(name, body)
		if fmt.Sprint(code) != status {
			b.t.Errorf("%s of %s: %d, want %s", name, body, code, status)
		}
		r := d.at(post, "responses", status)
		if r == nil {
			r = d.at(post, "responses", "default")
		}
		var got any
		err := json.Unmarshal([]byte(text), &got)
		if err == nil {
			err = d.valid(got, d.at(r, "content", "application/json", "schema"), "the answer")
		}
		if err != nil {
			b.t.Errorf("%s of %s: %v\n%s", name, body, err, text)
		}
	}
}
