package api

import (
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

// refuse answers a request that was not even looked at.
func refuse(w http.ResponseWriter, status int, err *schema.Error) {
	write(w, status, reply{Error: &problem{err.Code, err.Message}})
}

func write(w http.ResponseWriter, status int, v any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // messages' data is handed on as it is
	_ = e.Encode(v)        // the client may be gone
}
