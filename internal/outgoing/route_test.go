package outgoing

import (
	"testing"
	"time"
)

func TestRoute(t *testing.T) {
	const here, there = "tcp://127.0.0.1:1", "tcp://127.0.0.1:2"
	start := time.Unix(1000, 0)
	at := func(d time.Duration) time.Time { return start.Add(d) }

	// connect does what a link does when due says that a connection is to be made.
	connect := func(r *route) { r.dialed = r.target() }
	fresh := func(keys ...string) *route {
		r := new(route)
		r.redirect(here, keys)
		connect(r)
		return r
	}

	t.Run("a connection is made where there is none", func(t *testing.T) {
		r := new(route)
		if dial, _ := r.due(start, time.Time{}); dial {
			t.Error("to nowhere")
		}
		if !r.redirect(here, nil) {
			t.Error("the first address is no news")
		}
		if dial, _ := r.due(start, time.Time{}); !dial {
			t.Error("none is made")
		}
		connect(r)
		if dial, again := r.due(start, time.Time{}); dial || !again.IsZero() {
			t.Error("another is made beside it")
		}
		if r.redirect(here, nil) {
			t.Error("the same address is news")
		}
	})

	t.Run("it is made afresh where the peer has moved, or is gone", func(t *testing.T) {
		for _, to := range []string{there, ""} {
			r := fresh()
			r.redialAt = at(time.Hour)
			r.redirect(to, nil)
			if dial, _ := r.due(start, time.Time{}); !dial || r.target().Endpoint != to {
				t.Errorf("to %q: dial %v, to %v", to, dial, r.target())
			}
		}
	})

	t.Run("a failure is followed by a pause", func(t *testing.T) {
		r := fresh()
		r.dialed, r.redialAt = Target{}, at(redialInterval)
		if dial, again := r.due(start, time.Time{}); dial || !again.Equal(at(redialInterval)) {
			t.Errorf("dial %v, again at %v", dial, again)
		}
		if dial, _ := r.due(at(redialInterval), time.Time{}); !dial {
			t.Error("none is made after it")
		}
	})

	t.Run("when it is tried again", func(t *testing.T) {
		silent := at(0)
		for _, c := range []struct {
			name     string
			keys     []string
			tries    int
			silent   time.Time
			onItsWay bool
			want     time.Time
		}{
			{"not while it takes frames", nil, 0, time.Time{}, false, time.Time{}},
			{"after afreshInterval", nil, 0, silent, false, at(afreshInterval)},
			{"later while something may be on its way", nil, 0, silent, true, at(cautiousInterval)},
			{"with one key as with none", []string{"a"}, 0, silent, false, at(afreshInterval)},
			{"soon with another key", []string{"a", "b"}, 1, silent, true, at(keyInterval)},
			{"later in each round", []string{"a", "b"}, 4, silent, false, at(4 * keyInterval)},
			{"no later than without", []string{"a", "b"}, 1000, silent, false, at(afreshInterval)},
		} {
			t.Run(c.name, func(t *testing.T) {
				r := fresh(c.keys...)
				r.tries = c.tries
				if got := r.retryAt(c.silent, c.onItsWay); !got.Equal(c.want) {
					t.Errorf("retryAt %v, want %v", got.Sub(start), c.want.Sub(start))
				}
			})
		}
	})

	t.Run("never where there is no connection", func(t *testing.T) {
		r := fresh()
		r.dialed = Target{}
		if got := r.retryAt(start, false); !got.IsZero() {
			t.Errorf("retryAt %v", got)
		}
	})

	t.Run("each try is with another key", func(t *testing.T) {
		r := fresh("a", "b")
		for i, want := range []string{"b", "a", "b"} {
			if dial, _ := r.due(at(time.Second), at(time.Second)); !dial || r.target().Key != want || r.tries != i+1 {
				t.Errorf("try %d: dial %v with the key %q after %d", i+1, dial, r.target().Key, r.tries)
			}
			connect(r)
		}
		if dial, _ := r.due(start, at(time.Second)); dial {
			t.Error("another is made before it is time")
		}
	})

	t.Run("a connection that takes a frame ends the count of tries", func(t *testing.T) {
		r := fresh("a", "b")
		r.tries = 7
		if r.took(); r.tries != 0 {
			t.Errorf("%d tries", r.tries)
		}
	})

	t.Run("the key that the peer has proved is the one to use", func(t *testing.T) {
		r := fresh("a", "b")
		r.tries = 7
		if r.proved("c") || r.proved("") || r.tries != 7 {
			t.Error("a key that is not the peer's counts")
		}
		if !r.proved("b") || r.target().Key != "b" || r.tries != 0 {
			t.Errorf("key %q after %d tries", r.target().Key, r.tries)
		}
	})

	t.Run("a change of keys leaves a connection with one of them alone", func(t *testing.T) {
		r := fresh("a")
		if !r.redirect(here, []string{"b", "a"}) {
			t.Error("it is no news")
		}
		if dial, _ := r.due(start, time.Time{}); dial {
			t.Error("another is made while the old key holds")
		}
		r.redirect(here, []string{"b"})
		if dial, _ := r.due(start, time.Time{}); !dial || r.target().Key != "b" {
			t.Errorf("dial %v with the key %q once it does not", dial, r.target().Key)
		}
	})
}
