package cluster

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// journalMost is how many events wait for a slow log; more are dropped.
	journalMost = 256
	// journalTime is how long closing waits for the log at the end.
	journalTime = time.Second
)

// A journal hands events to the program's slog.Handler from a goroutine of its
// own. Events are noted in the midst of the node's work, with locks held: a
// handler that is slow, or that asks the node for its Stats, must not stop it.
type journal struct {
	handler slog.Handler
	*pages
}

type pages struct {
	mu      sync.Mutex
	events  []event
	writing chan struct{} // closed when the writer that runs has ended; nil if none runs
}

type event struct {
	handler slog.Handler
	record  slog.Record
}

func newJournal(h slog.Handler) journal { return journal{h, new(pages)} }

func (j journal) Enabled(ctx context.Context, l slog.Level) bool { return j.handler.Enabled(ctx, l) }

func (j journal) WithAttrs(attrs []slog.Attr) slog.Handler {
	return journal{j.handler.WithAttrs(attrs), j.pages}
}

func (j journal) WithGroup(name string) slog.Handler {
	return journal{j.handler.WithGroup(name), j.pages}
}

// Handle implements slog.Handler. It does not block.
func (j journal) Handle(_ context.Context, r slog.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.events) >= journalMost {
		return nil
	}
	j.events = append(j.events, event{j.handler, r.Clone()})
	if j.writing == nil {
		j.writing = make(chan struct{})
		go j.write(j.writing) // It ends when nothing is left; flush waits for it.
	}
	return nil
}

func (p *pages) write(done chan struct{}) {
	defer close(done)
	for {
		p.mu.Lock()
		events := p.events
		p.events = nil
		if len(events) == 0 {
			p.writing = nil
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		for _, e := range events {
			e.handler.Handle(context.Background(), e.record) // a log that fails has nowhere to say so
		}
	}
}

// flush waits until all events are written, but no longer than journalTime.
func (p *pages) flush() {
	p.mu.Lock()
	writing := p.writing
	p.mu.Unlock()
	if writing == nil {
		return
	}
	t := time.NewTimer(journalTime)
	defer t.Stop()
	select {
	case <-writing:
	case <-t.C:
	}
}
