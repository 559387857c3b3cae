package metrics

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hubbub-chat/hubbub/internal/contact"
)

func TestBackendState(t *testing.T) {
	redis, kafka := contact.New(contact.Config{Name: "redis"}), contact.New(contact.Config{Name: "kafka"})
	redis.Refused(errors.New("OOM"))
	s := NewSink("test")
	s.Watch(Backends{States: []Backend{redis, kafka}})
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`hubbub_backend_state{backend="redis",state="answers"} 0`,
		`hubbub_backend_state{backend="redis",state="refuses"} 1`,
		`hubbub_backend_state{backend="redis",state="silent"} 0`,
		`hubbub_backend_state{backend="kafka",state="answers"} 1`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %s in\n%s", want, w.Body)
		}
	}
}
