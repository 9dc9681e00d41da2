package journal_test

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/journal"
)

// handler calls a function with each event's text.
type handler struct {
	slog.Handler
	enabled func()
	handle  func(text string)
}

func (h handler) Enabled(context.Context, slog.Level) bool {
	if h.enabled != nil {
		h.enabled()
	}
	return true
}

func (h handler) Handle(_ context.Context, r slog.Record) error {
	h.handle(r.Message)
	return nil
}

func (h handler) WithAttrs([]slog.Attr) slog.Handler { return h }

func TestNoMethodOfTheHandlerIsCalledWhereAnEventIsNoted(t *testing.T) {
	var mu sync.Mutex
	called := false
	touch := func() {
		mu.Lock() // blocks while the test holds it
		defer mu.Unlock()
		called = true
	}
	j := journal.New(handler{enabled: touch, handle: func(string) { touch() }})
	mu.Lock()
	log := slog.New(j).With("pid", 1)
	log.Info("an event")
	mu.Unlock()
	j.Flush()
	mu.Lock()
	defer mu.Unlock()
	if !called {
		t.Error("the handler was not called")
	}
}

func TestAHandlerThatEndsItsGoroutineLosesOnlyItsOwnEvent(t *testing.T) {
	var texts []string
	j := journal.New(handler{handle: func(text string) {
		if texts = append(texts, text); text == "bad" {
			runtime.Goexit()
		}
	}})
	log := slog.New(j)
	for _, text := range []string{"first", "bad", "last"} {
		log.Info(text)
	}
	j.Flush()
	if got := strings.Join(texts, " "); got != "first bad last" {
		t.Errorf("written: %q", got)
	}
}

func TestADiscardedJournalNotesNothing(t *testing.T) {
	for _, h := range []slog.Handler{nil, slog.DiscardHandler} {
		if log := slog.New(journal.New(h)).With("a", 1); log.Enabled(context.Background(), slog.LevelError) {
			t.Errorf("with the handler %v it is enabled", h)
		}
	}
}

func TestAttributesAndTheDefaultHandlerReachTheLog(t *testing.T) {
	var b bytes.Buffer
	before := slog.Default()
	defer slog.SetDefault(before)
	j := journal.Default()
	log := slog.New(j).With("pid", 7)
	slog.SetDefault(slog.New(slog.NewTextHandler(&b, nil)))
	log.Warn("late", "peer", 3)
	j.Flush()
	if got := b.String(); !strings.Contains(got, "msg=late pid=7 peer=3") {
		t.Errorf("the log has %q", got)
	}
}

func TestASlowLogStopsNobody(t *testing.T) {
	on := make(chan struct{})
	j := journal.New(handler{handle: func(string) { <-on }})
	log := slog.New(j)
	noted := make(chan struct{})
	go func() { // It ends with its last event.
		defer close(noted)
		for range 10_000 {
			log.Info("event")
		}
	}()
	select {
	case <-noted:
	case <-time.After(time.Minute):
		t.Error("noting events waits for the log")
	}
	close(on)
	j.Flush()
}
