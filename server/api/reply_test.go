package api

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// broken is a request whose result cannot be encoded.
type broken struct{ result any }

func (r broken) run(context.Context, *API) pending { return done(r.result, nil) }

// An answer that cannot be encoded is a 500 with an error and a line of the
// log, alone and in a batch, and never begins as a success.
func TestUnencodableAnswer(t *testing.T) {
	for name, result := range map[string]any{
		"deep": map[string]any{"data": json.RawMessage(strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000))},
		"cut":  json.RawMessage(`{"data":`), "function": func() {},
	} {
		methods["broken"] = func() request { return &broken{result} }
		t.Cleanup(func() { delete(methods, "broken") })
		for method, body := range map[string]string{"broken": `{}`, "batch": `{"commands":[{"rpc":{"method":"x"}},{"broken":{}}]}`} {
			t.Run(name+" "+method, func(t *testing.T) {
				core, logs := observer.New(zap.DebugLevel)
				w := newAPI(t, Config{Relay: &relay{}, Log: zap.New(core)}).post(method, strings.NewReader(body))
				var r struct{ Error struct{ Code uint32 } }
				if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || w.Code != 500 || r.Error.Code != 100 || w.Header().Get("Content-Type") != "application/json" {
					t.Errorf("%d %q, %v", w.Code, w.Body, err)
				}
				if logs.Len() != 1 || logs.All()[0].Level != zap.ErrorLevel {
					t.Errorf("logged %v", logs.All())
				}
			})
		}
	}
}
