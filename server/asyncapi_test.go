package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/hubbub-chat/hubbub/schema"
)

// What docs/asyncapi.yaml says of the client protocol is so: its codes are the
// server's, its examples are valid by its own schemas, its commands are
// understood by a real node, and the answers are as documented.
func TestAsyncAPI(t *testing.T) {
	d := readDocument(t, "../docs/asyncapi.yaml")
	d.checkReferences(t, map[string]any(d), "")
	d.checkCodes(t)

	b := startAPI(t)
	messages, _ := d.at(map[string]any(d), "components", "messages").(map[string]any)
	reply, push := d.at(messages["reply"], "payload"), d.at(messages["push"], "payload")
	for name, message := range messages {
		examples, _ := d.at(message, "examples").([]any)
		if len(examples) == 0 || d.at(d["channels"], "connection", "messages", name) == nil {
			t.Errorf("%s has no example, or the connection does not know it", name)
		}
		for _, example := range examples {
			payload := d.at(example, "payload")
			if name != "pong" && name != "serverPing" {
				if err := d.valid(payload, d.at(message, "payload"), name); err != nil {
					t.Error(err)
				}
			}
			command, ok := payload.(map[string]any)
			if !ok || command["id"] == nil || name == "reply" || name == "connect" || strings.Contains(name, "refresh") {
				continue // a connect answers once; a guest has nothing to refresh
			}
			c := b.h.client(schema.JSON)
			command["id"] = 1000
			text, _ := json.Marshal(command)
			c.sendRaw(false, string(text))
			d.checkReply(t, c, reply, push)
		}
	}
}

// checkReply reads up to the reply of command 1000; all that comes is as
// documented.
func (d document) checkReply(t *testing.T, c *client, reply, push any) {
	t.Helper()
	for {
		raw, r, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		var got any
		if err := json.Unmarshal(raw, &got); err != nil {
			t.Fatal(err)
		}
		s := reply
		if r.Id == 0 {
			s = push
		}
		if err := d.valid(got, s, "what was received"); err != nil {
			t.Errorf("%v\n%s", err, raw)
		}
		if r.Id == 1000 {
			return
		}
	}
}

func (d document) checkCodes(t *testing.T) {
	t.Helper()
	closes, _ := d.at(d["channels"], "connection", "x-close-codes").(map[string]any)
	for _, c := range []schema.Close{
		schema.CloseConnectionClosed, schema.CloseShutdown, schema.CloseServerError, schema.CloseExpired, schema.CloseSubExpired,
		schema.CloseSlow, schema.CloseWriteError, schema.CloseInsufficientState, schema.CloseForceReconnect, schema.CloseNoPong,
		schema.CloseTooManyRequests, schema.CloseStateInvalidated, schema.CloseInvalidToken, schema.CloseBadRequest, schema.CloseStale,
		schema.CloseForceNoReconnect, schema.CloseConnectionLimit, schema.CloseChannelLimit, schema.ClosePermissionDenied,
	} {
		if got := closes[fmt.Sprint(c.Code)]; got != c.Reason {
			t.Errorf("close %d is documented as %v, is %q", c.Code, got, c.Reason)
		}
		delete(closes, fmt.Sprint(c.Code))
	}
	codes, _ := d.at(d["components"], "schemas", "error", "x-codes").(map[string]any)
	for _, e := range []*schema.Error{
		schema.ErrInternal, schema.ErrUnauthorized, schema.ErrUnknownChannel, schema.ErrPermissionDenied, schema.ErrAlreadySubscribed,
		schema.ErrLimitExceeded, schema.ErrBadRequest, schema.ErrNotAvailable, schema.ErrTokenExpired, schema.ErrTooManyRequests,
		schema.ErrUnrecoverable,
	} {
		if got := codes[fmt.Sprint(e.Code)]; got != e.Message {
			t.Errorf("error %d is documented as %v, is %q", e.Code, got, e.Message)
		}
		delete(codes, fmt.Sprint(e.Code))
	}
	if len(closes)+len(codes) > 0 {
		t.Errorf("documented and unknown: %v, %v", closes, codes)
	}
}

// checkReferences: each leads somewhere.
func (d document) checkReferences(t *testing.T, v any, where string) {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		if _, isRef := v["$ref"].(string); isRef && d.resolve(v) == nil {
			t.Errorf("%s: %v leads nowhere", where, v["$ref"])
		}
		for key, value := range v {
			d.checkReferences(t, value, where+"/"+key)
		}
	case []any:
		for i, value := range v {
			d.checkReferences(t, value, fmt.Sprint(where, "/", i))
		}
	}
}
