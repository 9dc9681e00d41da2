// Package journal hands events to a program's log from a goroutine of its own. Events are noted in the
// midst of a node's work, with locks held: a handler that is slow, or that asks the node for its Stats,
// must not stop it, and no method of the handler's is called where they are noted.
package journal

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// most is how many events wait for a slow log; more are dropped.
	most = 256
	// flushTime is how long Flush waits for the log at the end.
	flushTime = time.Second
)

// A Journal is a slog.Handler that hands events to another one.
type Journal struct {
	handler func() slog.Handler // nil: silence
	*events
}

type events struct {
	mu      sync.Mutex
	queue   []event
	writing chan struct{} // closed when the writer that runs has ended; nil if none runs
}

type event struct {
	handler func() slog.Handler
	record  slog.Record
}

// New makes a journal for a handler, which is asked for when there is something to write. For slog.DiscardHandler, and nil, it
// notes nothing.
func New(h slog.Handler) Journal {
	if h == nil || h == slog.DiscardHandler {
		return Journal{nil, new(events)}
	}
	return Journal{func() slog.Handler { return h }, new(events)}
}

// Default makes a journal for what slog.Default is whenever there is something to write.
func Default() Journal {
	return Journal{func() slog.Handler { return slog.Default().Handler() }, new(events)}
}

// Enabled implements slog.Handler. The handler itself is asked when the event is written.
func (j Journal) Enabled(context.Context, slog.Level) bool { return j.handler != nil }

// WithAttrs implements slog.Handler.
func (j Journal) WithAttrs(attrs []slog.Attr) slog.Handler {
	return j.with(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

// WithGroup implements slog.Handler.
func (j Journal) WithGroup(name string) slog.Handler {
	return j.with(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func (j Journal) with(f func(slog.Handler) slog.Handler) Journal {
	if j.handler == nil {
		return j
	}
	of := j.handler
	return Journal{func() slog.Handler { return f(of()) }, j.events}
}

// Handle implements slog.Handler. It does not block.
func (j Journal) Handle(_ context.Context, r slog.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.queue) >= most {
		return nil
	}
	j.queue = append(j.queue, event{j.handler, r.Clone()})
	if j.writing == nil {
		j.writing = make(chan struct{})
		go j.write(j.writing) // It ends when nothing is left; Flush waits for it.
	}
	return nil
}

// write is the goroutine that writes what is noted.
func (e *events) write(done chan struct{}) {
	ended := false
	defer func() {
		if !ended {
			go e.write(done) // The handler has ended the goroutine; the next events are not to be lost with it.
		}
	}()
	for {
		e.mu.Lock()
		if len(e.queue) == 0 {
			e.queue, e.writing = nil, nil
			e.mu.Unlock()
			ended = true
			close(done)
			return
		}
		next := e.queue[0]
		e.queue = e.queue[1:]
		e.mu.Unlock()
		h := next.handler()
		if ctx := context.Background(); h.Enabled(ctx, next.record.Level) {
			h.Handle(ctx, next.record) // a log that fails has nowhere to say so
		}
	}
}

// Flush waits until all events are written, but no longer than a second.
func (e *events) Flush() {
	e.mu.Lock()
	writing := e.writing
	e.mu.Unlock()
	if writing == nil {
		return
	}
	t := time.NewTimer(flushTime)
	defer t.Stop()
	select {
	case <-writing:
	case <-t.C:
	}
}
