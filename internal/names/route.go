package names

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

const (
	// After the first look-up, which is at once, the pauses before the next grow from
	// firstPause to lookupPause.
	firstPause  = 10 * time.Millisecond
	lookupPause = 250 * time.Millisecond
	// roundPause is the longest pause after all addresses were tried; the pauses grow to it
	// from firstPause.
	roundPause = 125 * time.Millisecond
	// attemptTime is how long an address is tried in the first round if nothing at all comes
	// of it. It doubles with each round up to attemptMost, which is enough for a handshake
	// over any distance.
	attemptTime = time.Second
	attemptMost = 8 * time.Second
	// settledTime is how long a connection has stood that is not about to break again.
	settledTime = time.Second
)

// A Route is the way to a host that has a name: it decides when the name is looked up, and
// which of its addresses is dialed. The zero value has yet to begin.
//
//	while the connection             the name                          the addresses
//	is yet to be made, or is gone    is looked up at once, and then    are dialed in turn; the latest is kept as
//	                                 after pauses of up to 250 ms      long as the name has it and no other
//	stands                           is left alone                     are left alone
//
// A name that cannot be looked up leaves the addresses as they were. It has no clock and no
// lock: it is told of what happens and when, and Next tells what to do.
type Route struct {
	host string

	stands  bool
	since   time.Time // of stands
	looking bool
	asked   time.Time // when the look-up began that runs, or ran last
	lookAt  time.Time // when the next one is due
	pause   time.Duration
	err     error // of the latest look-up

	addrs   []netip.Addr
	at      int           // which of addrs is tried
	dialed  bool          // it was handed out
	dialAt  time.Time     // not before then
	expires time.Time     // when it has been tried for long enough; counts if there are others
	attempt time.Duration // how long the addresses are tried in this round
	rest    time.Duration // the pause after this round
	trouble error         // of the latest attempt
}

// A Step is what is to be done now. Both may be.
type Step struct {
	LookUp bool       // look the name up, and tell Answer
	Dial   netip.Addr // if valid, give up what was dialed before and dial this
	// Until is when to ask again although nothing has happened; zero: not at all.
	Until time.Time
}

// NewRoute is the way to a host that is not connected yet.
func NewRoute(host string) *Route {
	return &Route{host: host, pause: firstPause, attempt: attemptTime, rest: firstPause}
}

// Next tells what to do now.
func (r *Route) Next(now time.Time) (s Step) {
	if r.stands {
		return s
	}
	if !r.looking && !now.Before(r.lookAt) {
		r.looking, r.asked, s.LookUp = true, now, true
	}
	if r.dialed && len(r.addrs) > 1 && !now.Before(r.expires) {
		r.advance(now, fmt.Errorf("%v: no connection within %v", r.addrs[r.at], r.attempt))
	}
	if !r.dialed && len(r.addrs) > 0 && !now.Before(r.dialAt) {
		r.dialed, s.Dial = true, r.addrs[r.at]
		r.expires = now.Add(r.attempt)
	}
	if !r.looking {
		s.Until = r.lookAt
	}
	switch {
	case !r.dialed && len(r.addrs) > 0:
		s.Until = earlier(s.Until, r.dialAt)
	case r.dialed && len(r.addrs) > 1:
		s.Until = earlier(s.Until, r.expires)
	}
	return s
}

// Answer tells what has become of a look-up.
func (r *Route) Answer(now time.Time, addrs []netip.Addr, err error) {
	r.looking, r.err = false, err
	r.lookAt = now.Add(r.pause)
	r.pause = min(2*r.pause, lookupPause)
	if err != nil {
		return
	}
	latest, was := netip.Addr{}, r.addrs
	if len(was) > 0 {
		latest = was[r.at]
	}
	// A resolver may put the same addresses in another order each time.
	if len(was) == len(addrs) && !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !slices.Contains(was, a) }) {
		return
	}
	r.addrs = slices.Clone(addrs)
	if r.at = slices.Index(addrs, latest); r.at < 0 {
		// What is new comes first.
		r.at = max(0, slices.IndexFunc(addrs, func(a netip.Addr) bool { return !slices.Contains(was, a) }))
		r.dialed, r.dialAt = false, now
		r.attempt, r.rest = attemptTime, firstPause
	}
}

// Connected tells that the connection stands.
func (r *Route) Connected(now time.Time) {
	r.stands, r.since, r.trouble = true, now, nil
	r.attempt, r.rest = attemptTime, firstPause
}

// Lost tells that the connection is gone. Who dials tries the same address again by himself
// until Next tells him another.
func (r *Route) Lost(now time.Time) {
	if !r.stands {
		r.Failed(now, nil)
		return
	}
	r.stands, r.expires = false, now.Add(r.attempt)
	if now.Sub(r.since) >= settledTime {
		r.pause, r.lookAt = firstPause, now
	}
}

// Failed tells that an attempt to connect has failed; cause may be nil. The next address is
// tried, if there is another.
func (r *Route) Failed(now time.Time, cause error) {
	if r.stands || !r.dialed {
		return
	}
	if cause != nil {
		r.trouble = fmt.Errorf("%v: %w", r.addrs[r.at], cause)
	}
	if len(r.addrs) > 1 {
		r.advance(now, r.trouble)
	}
}

// advance goes on to the next address.
func (r *Route) advance(now time.Time, trouble error) {
	r.trouble = trouble
	r.at, r.dialed, r.dialAt = (r.at+1)%len(r.addrs), false, now
	if r.at == 0 {
		r.dialAt = now.Add(r.rest)
		r.rest = min(2*r.rest, roundPause)
		r.attempt = min(2*r.attempt, attemptMost)
	}
}

// Err is why there is no connection, as far as is known: what is the matter with the name, or
// with the latest attempt to connect. Nil if it stands, or nothing is known.
func (r *Route) Err(now time.Time) error {
	switch {
	case r.stands:
		return nil
	case r.err != nil:
		return r.err
	case r.looking && len(r.addrs) == 0:
		return &LookupError{r.host, fmt.Errorf("no answer for %v", now.Sub(r.asked).Round(10*time.Millisecond))}
	case r.trouble != nil:
		return fmt.Errorf("%q: %w", r.host, r.trouble)
	}
	return nil
}

// earlier returns the earlier of two times, where zero means none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
