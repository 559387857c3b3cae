package schema

// Error is what a client is told when a command fails: a code of the
// Centrifuge protocol (PROTOCOL: 100-399 its own, 400 and above ours), a
// message that is never empty, and whether the same command may succeed
// later.
type Error struct {
	Code      uint32
	Message   string
	Temporary bool
}

func (e *Error) Error() string { return e.Message }

// Because returns the same error with a more exact message.
func (e *Error) Because(message string) *Error {
	return &Error{Code: e.Code, Message: message, Temporary: e.Temporary}
}

// Is makes errors.Is compare by code, so a reason does not change identity.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// The errors of the client protocol.
var (
	ErrInternal          = &Error{Code: 100, Message: "internal server error", Temporary: true}
	ErrUnauthorized      = &Error{Code: 101, Message: "unauthorized"}
	ErrUnknownChannel    = &Error{Code: 102, Message: "unknown channel"}
	ErrPermissionDenied  = &Error{Code: 103, Message: "permission denied"}
	ErrAlreadySubscribed = &Error{Code: 105, Message: "already subscribed"}
	ErrLimitExceeded     = &Error{Code: 106, Message: "limit exceeded"}
	ErrBadRequest        = &Error{Code: 107, Message: "bad request"}
	ErrNotAvailable      = &Error{Code: 108, Message: "not available"}
	ErrTokenExpired      = &Error{Code: 109, Message: "token expired"}
	ErrTooManyRequests   = &Error{Code: 111, Message: "too many requests", Temporary: true}
	ErrUnrecoverable     = &Error{Code: 112, Message: "unrecoverable position"}
)

// Close is a WebSocket close code with its reason. SDKs reconnect after
// 3000-3499 and stay away after 3500-3999; a reason must be there and must
// not look like JSON, or the JavaScript SDK reconnects after all.
type Close struct {
	Code   uint16
	Reason string
}

// The closes of the client protocol, and those RFC 6455 rules.
var (
	CloseNormal            = Close{1000, "bye"}
	CloseGoingAway         = Close{1001, "going away"}
	CloseProtocolError     = Close{1002, "protocol error"}
	CloseUnsupportedData   = Close{1003, "unsupported data"}
	CloseInvalidUTF8       = Close{1007, "invalid UTF-8"}
	CloseTooBig            = Close{1009, "message too big"}
	CloseInternalError     = Close{1011, "internal error"}
	CloseConnectionClosed  = Close{3000, "connection closed"}
	CloseShutdown          = Close{3001, "shutdown"}
	CloseServerError       = Close{3004, "server error"}
	CloseExpired           = Close{3005, "expired"}
	CloseSubExpired        = Close{3006, "subscription expired"}
	CloseSlow              = Close{3008, "slow"}
	CloseWriteError        = Close{3009, "write error"}
	CloseInsufficientState = Close{3010, "insufficient state"}
	CloseForceReconnect    = Close{3011, "force reconnect"}
	CloseNoPong            = Close{3012, "no pong"}
	CloseTooManyRequests   = Close{3013, "too many requests"}
	CloseStateInvalidated  = Close{3014, "state invalidated"}
	CloseInvalidToken      = Close{3500, "invalid token"}
	CloseBadRequest        = Close{3501, "bad request"}
	CloseStale             = Close{3502, "stale"}
	CloseForceNoReconnect  = Close{3503, "force disconnect"}
	CloseConnectionLimit   = Close{3504, "connection limit"}
	CloseChannelLimit      = Close{3505, "channel limit"}
	ClosePermissionDenied  = Close{3507, "permission denied"}
)

// The codes of unsubscribe pushes. SDKs subscribe again, with recovery, from
// 2500 on.
const (
	UnsubscribeServer            uint32 = 2000
	UnsubscribeInsufficientState uint32 = 2500
	UnsubscribeExpired           uint32 = 2501
	UnsubscribeStateInvalidated  uint32 = 2502
)
