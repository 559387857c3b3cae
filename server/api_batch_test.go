package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/hubbub-chat/hubbub/server/api"
)

// A method that is served by itself is served in a batch too, and in the former
// form, with the same kind of answer, and documented there: all come from one table.
func TestBatchHasEveryMethod(t *testing.T) {
	d := readDocument(t, "../docs/openapi.yaml")
	b := startAPI(t)
	single := slices.DeleteFunc(api.Methods(), func(name string) bool { return name == "batch" })
	if len(single) < 14 {
		t.Fatalf("only %v are served", single)
	}
	schemas := d.at(d["components"], "schemas")
	commands, _ := d.at(schemas, "BatchRequest", "properties", "commands", "items", "properties").(map[string]any)
	replies, _ := d.at(schemas, "BatchResponse", "properties", "replies", "items", "properties").(map[string]any)
	delete(replies, "error")
	for where, documented := range map[string]map[string]any{"a request": commands, "an answer": replies} {
		if names := slices.Sorted(maps.Keys(documented)); !slices.Equal(names, single) {
			t.Errorf("%s of batch is documented with %v, served are %v", where, names, single)
		}
	}
	for _, name := range single {
		t.Run(name, func(t *testing.T) {
			example := d.at(d["paths"], "/"+name, "post", "requestBody", "content", "application/json", "example")
			body, err := json.Marshal(example)
			if err != nil {
				t.Fatal(err)
			}
			var alone map[string]any
			_, text := b.post(name, string(body))
			if err := json.Unmarshal([]byte(text), &alone); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			var batch struct{ Replies []map[string]any }
			status, text := b.post("batch", fmt.Sprintf(`{"commands":[{%q:%s}]}`, name, body))
			if err := json.Unmarshal([]byte(text), &batch); err != nil || status != http.StatusOK || len(batch.Replies) != 1 {
				t.Fatalf("%d %s, %v", status, text, err)
			}
			got := batch.Replies[0]
			if want, failed := alone["error"]; failed {
				if fmt.Sprint(got["error"]) != fmt.Sprint(want) {
					t.Errorf("in a batch it is answered %v, alone %v", got, alone)
				}
			} else if _, ok := got[name]; !ok || len(got) != 1 {
				t.Errorf("in a batch it is answered %v, alone %v", got, alone)
			}
			var former map[string]any
			var said publishes
			if json.Unmarshal(body, &said) == nil {
				b.note(said)
			}
			_, text = b.post("", fmt.Sprintf(`{"method":%q,"params":%s}`, name, body))
			if err := json.Unmarshal([]byte(text), &former); err != nil || fmt.Sprint(former["error"]) != fmt.Sprint(alone["error"]) {
				t.Errorf("posted to /api it is answered %s, alone %v", text, alone)
			}
		})
	}
}
