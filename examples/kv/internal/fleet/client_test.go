package fleet

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A server that dies with a request, after which nobody listens there, may have carried it out, whether the request has
// a name or not.
func TestARequestThatADyingServerGotIsUnknown(t *testing.T) {
	for _, name := range []string{"", "one"} {
		requests := 0
		var s *httptest.Server
		s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if requests++; requests == 1 {
				w.WriteHeader(http.StatusNoContent)
				return
			}
			s.Listener.Close()
			panic(http.ErrAbortHandler)
		}))
		defer s.Close()
		write := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := send(ctx, strings.TrimPrefix(s.URL, "http://"), Request{Method: http.MethodPut, Path: "/kv/a", Name: name})
			return err
		}
		if err := write(); err != nil {
			t.Fatal(err)
		}
		if err := write(); !errors.Is(err, ErrUnknown) {
			t.Errorf("with the name %q: %v, want %v", name, err, ErrUnknown)
		}
	}
}

// A request that reached nobody has had no effect, if net/http does not send it by itself.
func TestARequestThatReachesNobodyIsNotDone(t *testing.T) {
	all, err := freeAddresses(1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := send(ctx, all[0], Request{Method: http.MethodPut, Path: "/kv/a"}); !errors.Is(err, ErrNotDone) {
		t.Errorf("%v, want %v", err, ErrNotDone)
	}
}
