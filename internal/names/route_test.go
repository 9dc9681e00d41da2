package names

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// A drive tells a route what happens, at times that it makes up.
type drive struct {
	t     testing.TB
	route *Route
	now   time.Time
}

func newDrive(t testing.TB) *drive {
	return &drive{t, NewRoute("host"), time.Unix(1000, 0)}
}

// next asks what is to be done, and wants it to be that: "look up", an address, both, or "".
func (d *drive) next(want string) Step {
	d.t.Helper()
	s := d.route.Next(d.now)
	got := ""
	if s.LookUp {
		got = "look up"
	}
	if s.Dial.IsValid() {
		got = strings.TrimSpace(got + " " + s.Dial.String())
	}
	if got != want {
		d.t.Fatalf("to be done: %q, want %q", got, want)
	}
	return s
}

// wait goes on to when the route wants to be asked again, which is to be after that time.
func (d *drive) wait(want time.Duration) {
	d.t.Helper()
	s := d.next("")
	if s.Until.IsZero() || s.Until.Sub(d.now) != want {
		d.t.Fatalf("to be asked again after %v, want %v", s.Until.Sub(d.now), want)
	}
	d.now = s.Until
}

func (d *drive) answer(texts ...string) { d.route.Answer(d.now, addrs(texts...), nil) }
func (d *drive) failed()                { d.route.Failed(d.now, errors.New("refused")) }

// connected is a route whose connection has stood for a while.
func connected(t testing.TB, texts ...string) *drive {
	d := newDrive(t)
	d.next("look up")
	d.answer(texts...)
	d.next(texts[0])
	d.route.Connected(d.now)
	d.now = d.now.Add(time.Minute)
	return d
}

func TestANameIsLookedUpBeforeAnythingIsDialed(t *testing.T) {
	d := newDrive(t)
	if s := d.next("look up"); !s.Until.IsZero() {
		t.Errorf("to be asked again at %v although only the answer counts", s.Until)
	}
	d.now = d.now.Add(time.Minute)
	d.next("") // one look-up at a time
	d.answer("192.0.2.1")
	d.next("192.0.2.1")
}

func TestAConnectionThatStandsIsLeftAlone(t *testing.T) {
	d := connected(t, "192.0.2.1", "192.0.2.2")
	if s := d.next(""); !s.Until.IsZero() {
		t.Errorf("to be asked again at %v", s.Until)
	}
	// A look-up that was on its way changes nothing.
	d.answer("192.0.2.9")
	d.next("")
	if err := d.route.Err(d.now); err != nil {
		t.Errorf("the trouble is %v, want none", err)
	}
}

func TestAnAttemptThatFailedBesideAConnectionThatStandsChangesNothing(t *testing.T) {
	d := connected(t, "192.0.2.1", "192.0.2.2")
	d.failed()
	d.next("")
	d.route.Lost(d.now)
	d.next("look up") // and the address is still the one that stood
}

func TestWhenAConnectionIsGoneTheNameIsLookedUpAtOnceAndThenWithBackOff(t *testing.T) {
	d := connected(t, "192.0.2.1")
	d.route.Lost(d.now)
	for _, pause := range []int{10, 20, 40, 80, 160, 250, 250, 250} {
		d.next("look up")
		d.answer("192.0.2.1")
		d.wait(time.Duration(pause) * time.Millisecond)
	}
	d.next("look up")
	d.answer("192.0.2.7") // it has moved
	d.next("192.0.2.7")
	d.route.Connected(d.now)
	d.next("")
}

func TestAConnectionThatBreaksAgainAndAgainDoesNotAskWithoutPause(t *testing.T) {
	d := connected(t, "192.0.2.1")
	d.route.Lost(d.now)
	for _, pause := range []int{10, 20, 40, 80, 160, 250, 250} {
		d.next("look up")
		d.answer("192.0.2.1")
		d.route.Connected(d.now)
		d.route.Lost(d.now)
		d.wait(time.Duration(pause) * time.Millisecond)
	}
}

func TestAllAddressesOfANameAreTriedInTurn(t *testing.T) {
	const a, b, c = "2001:db8::1", "192.0.2.1", "192.0.2.2"
	t.Run("refused", func(t *testing.T) {
		d := newDrive(t)
		d.next("look up")
		d.answer(a, b, c)
		d.route.looking = true // no look-up disturbs what follows
		for _, rest := range []int{10, 20, 40, 80, 125, 125} {
			for _, want := range []string{a, b, c} {
				d.next(want)
				d.failed()
			}
			d.wait(time.Duration(rest) * time.Millisecond)
		}
	})
	t.Run("nothing comes of them", func(t *testing.T) {
		d := newDrive(t)
		d.next("look up")
		d.answer(a, b)
		d.route.looking = true
		for _, time := range []time.Duration{1, 2, 4, 8, 8} {
			d.next(a)
			d.wait(time * attemptTime)
			d.next(b)
			d.now = d.now.Add(time * attemptTime)
			d.next("")
			d.now = d.now.Add(roundPause)
		}
	})
	t.Run("the second is lost", func(t *testing.T) {
		d := newDrive(t)
		d.next("look up")
		d.answer(a, b)
		d.next(a)
		d.failed()
		d.next(b)
		d.route.Connected(d.now)
		d.now = d.now.Add(time.Minute)
		d.route.Lost(d.now)
		d.next("look up") // b is tried on
		d.failed()
		d.now = d.now.Add(firstPause)
		d.next(a)
	})
}

func TestTheOnlyAddressIsLeftToWhoDials(t *testing.T) {
	d := newDrive(t)
	d.next("look up")
	d.answer("192.0.2.1")
	d.route.looking = true
	d.next("192.0.2.1")
	for range 5 {
		d.failed()
		if s := d.next(""); !s.Until.IsZero() {
			t.Errorf("to be asked again at %v", s.Until)
		}
		d.now = d.now.Add(time.Minute)
	}
}

func TestAnAnswerThatDiffersIsDialed(t *testing.T) {
	for _, c := range []struct {
		name, before, after, want string
	}{
		{"another address", "192.0.2.1", "192.0.2.2", "192.0.2.2"},
		{"another order", "192.0.2.1 192.0.2.2", "192.0.2.2 192.0.2.1", ""},
		{"one more", "192.0.2.1", "192.0.2.2 192.0.2.1", ""},
		{"one less, not ours", "192.0.2.1 192.0.2.2", "192.0.2.1", ""},
		{"one less, ours", "192.0.2.1 192.0.2.2", "192.0.2.2", "192.0.2.2"},
		{"ours is replaced: the new one first", "192.0.2.1 192.0.2.2", "192.0.2.2 192.0.2.3", "192.0.2.3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := connected(t, strings.Fields(c.before)...)
			d.route.Lost(d.now)
			d.next("look up")
			d.answer(strings.Fields(c.after)...)
			d.next(c.want)
		})
	}
}

func TestANameThatCannotBeLookedUpLeavesTheAddresses(t *testing.T) {
	d := connected(t, "192.0.2.1", "192.0.2.2")
	d.route.Lost(d.now)
	d.next("look up")
	cause := &LookupError{"host", errors.New("the server is gone")}
	d.route.Answer(d.now, nil, cause)
	d.failed()
	d.next("192.0.2.2")
	if err := d.route.Err(d.now); !errors.Is(err, cause) {
		t.Errorf("the trouble is %v, want %v", err, cause)
	}
	d.now = d.now.Add(lookupPause)
	d.next("look up")
}

func TestTheTroubleNamesTheName(t *testing.T) {
	d := newDrive(t)
	want := func(parts ...string) {
		t.Helper()
		text := fmt.Sprint(d.route.Err(d.now))
		for _, p := range parts {
			if !strings.Contains(text, p) {
				t.Errorf("the trouble is %q, want it to say %q", text, p)
			}
		}
	}
	d.next("look up")
	d.now = d.now.Add(1200 * time.Millisecond)
	want(`"host"`, "no answer for 1.2s")
	d.answer("192.0.2.1", "192.0.2.2")
	d.next("192.0.2.1")
	d.failed()
	want(`"host"`, "192.0.2.1", "refused")
	d.next("192.0.2.2")
	d.now = d.now.Add(attemptTime)
	d.route.looking = true
	d.route.Next(d.now)
	want(`"host"`, "192.0.2.2", "no connection within 1s")
}

func TestARouteWithoutAnythingToDoSaysWhenToAskAgain(t *testing.T) {
	var none netip.Addr
	d := newDrive(t)
	for range 1000 { // whatever becomes of it, it goes on
		s := d.route.Next(d.now)
		if s.LookUp {
			d.answer("192.0.2.1", "192.0.2.2")
			continue
		}
		if s.Dial == none && s.Until.IsZero() {
			t.Fatal("there is no connection, and nothing is to happen")
		}
		if s.Until.After(d.now) {
			d.now = s.Until
		}
	}
}
