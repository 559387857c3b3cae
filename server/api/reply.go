package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/schema"
)

// reply is the answer to one request: a result or an error.
type reply struct {
	Error  *problem `json:"error,omitempty"`
	Result any      `json:"result,omitempty"`
}

// problem is an error as it is written.
type problem struct {
	Code    uint32 `json:"code"`
	Message string `json:"message"`
}

var (
	errMethod  = &schema.Error{Code: 104, Message: "method not found"}
	errTimeout = schema.ErrInternal.Because("no answer in time; it may still take effect")
	errBusy    = schema.ErrTooManyRequests.Because("the server has too much to do")
)

// reply makes an answer of what a request gave. Errors that are not the
// protocol's own are worth a line of the log and no business of the caller.
func (a *API) reply(result any, err error) reply {
	if err == nil {
		return reply{Result: result}
	}
	var e *schema.Error
	switch {
	case errors.As(err, &e):
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		e = errTimeout
	default:
		a.cfg.Log.Error("a request of the server API failed", zap.Error(err))
		e = schema.ErrInternal
	}
	return reply{Error: &problem{e.Code, e.Message}}
}

// write answers. The answer is encoded before anything of it is sent: one that
// cannot be is a fault of ours, and must not look like an empty success.
func (a *API) write(w http.ResponseWriter, status int, v any) {
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false) // messages' data is handed on as it is
	if err := e.Encode(v); err != nil {
		a.cfg.Log.Error("an answer of the server API cannot be encoded", zap.Error(err))
		refuse(w, http.StatusInternalServerError, schema.ErrInternal)
		return
	}
	send(w, status, body.Bytes())
}

// refuse answers a request that was not even looked at.
func refuse(w http.ResponseWriter, status int, err *schema.Error) {
	body, _ := json.Marshal(reply{Error: &problem{err.Code, err.Message}}) // a number and a string
	send(w, status, append(body, '\n'))
}

func send(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
}
