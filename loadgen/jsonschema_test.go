package main

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/report"
)

const schemaFile = "../docs/loadgen-report.schema.json"

// TestSchema: the JSON Schema that is handed out is the report's. With
// LOADGEN_WRITE_SCHEMA=1 it is written anew.
func TestSchema(t *testing.T) {
	want := map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"title":   "loadgen's report",
		"description": "What loadgen --json writes. Names tell units: _s seconds, _us microseconds, _ns nanoseconds, _per_s a second. " +
			"null is a figure that the system does not tell. faults are why the exit code is 1, invalid why the figures are not to be trusted.",
	}
	for k, v := range schemaOf(reflect.TypeFor[report.Report]()) {
		want[k] = v
	}
	text, err := json.MarshalIndent(want, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	if os.Getenv("LOADGEN_WRITE_SCHEMA") != "" {
		if err := os.WriteFile(schemaFile, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(schemaFile); err != nil || !bytes.Equal(have, text) {
		t.Fatalf("%s is not that of the report (%v): LOADGEN_WRITE_SCHEMA=1 go test -run TestSchema writes it", schemaFile, err)
	}
}

type object = map[string]any

func schemaOf(t reflect.Type) object {
	if t == reflect.TypeFor[report.Figure]() {
		return object{"type": []string{"number", "null"}}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem())
	case reflect.Interface:
		return object{}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Slice:
		return object{"type": "array", "items": schemaOf(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": schemaOf(t.Elem())}
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			return object{"type": "string", "format": "date-time"}
		}
		properties, required := object{}, []string{}
		fieldsOf(t, properties, &required)
		return object{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
	}
	return object{"type": "integer"}
}

func fieldsOf(t reflect.Type, properties object, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			fieldsOf(f.Type, properties, required)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		if _, twice := properties[name]; twice || name == "" {
			continue
		}
		properties[name] = schemaOf(f.Type)
		if options != "omitempty" {
			*required = append(*required, name)
		}
	}
}

// TestReportsFitTheSchema: what a run writes has what the schema asks for and
// nothing else.
func TestReportsFitTheSchema(t *testing.T) {
	t.Parallel()
	url, _ := startChat(t, wrong{}, false)
	_, r, _, _ := loadgen(t, t.Context(), shortRun(url)...)
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	fits(t, "report", v, schemaOf(reflect.TypeFor[report.Report]()))
}

func fits(t *testing.T, path string, v any, schema object) {
	switch v := v.(type) {
	case map[string]any:
		properties, _ := schema["properties"].(object)
		if properties == nil {
			return // anything
		}
		for name := range v {
			if properties[name] == nil {
				t.Errorf("%s.%s is not in the schema", path, name)
			} else {
				fits(t, path+"."+name, v[name], properties[name].(object))
			}
		}
		for _, name := range schema["required"].([]string) {
			if _, ok := v[name]; !ok {
				t.Errorf("%s.%s is missing", path, name)
			}
		}
	case []any:
		for _, item := range v {
			fits(t, path+"[]", item, schema["items"].(object))
		}
	case string:
		if schema["type"] != "string" && len(schema) > 0 {
			t.Errorf("%s is a string, not %v", path, schema["type"])
		}
	case float64, nil:
		_, nullable := schema["type"].([]string) // a number, or null
		if kind := schema["type"]; !nullable && (v == nil || kind != "number" && kind != "integer") && len(schema) > 0 {
			t.Errorf("%s is %v, not %v", path, v, kind)
		}
	}
}
