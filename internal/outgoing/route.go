package outgoing

import (
	"slices"
	"time"
)

const (
	// redialInterval is the pause after a connection could not even be set up, for want of
	// sockets or descriptors.
	redialInterval = 250 * time.Millisecond
	// keyInterval is how long a connection may take nothing before another of the peer's keys is
	// tried, in the first round; it doubles with each, so that at last it is enough for a
	// handshake over any distance.
	keyInterval = 500 * time.Millisecond
	// afreshInterval is how long a connection may take nothing before it is made afresh: ZeroMQ
	// never comes back to a server that has once broken the protocol, as a stranger on its port
	// does. It is longer than a heartbeat takes to end a connection with a peer that has only
	// stopped, so that nothing on it is lost. While something may be on its way, and only be
	// slow, it is cautiousInterval.
	afreshInterval   = 5 * time.Second
	cautiousInterval = 10 * time.Second
)

// A Target is what a connection is made to.
type Target struct {
	Endpoint string
	Key      string // the public key that the peer has to prove; empty: none
}

// A route is where a peer is, and which connection there was made last. It decides when another one is
// to be made.
type route struct {
	endpoint string   // of the peer; empty while the catalogue does not have it
	keys     []string // its public keys: none, one, or two while it changes from one to the other
	keyAt    int      // which of keys is tried
	tries    int      // connections made in a row that took nothing
	dialed   Target   // of the connection that there is; the zero value if there is none, or it is of no use
	redialAt time.Time
}

// target is where the peer is now.
func (r *route) target() Target {
	t := Target{Endpoint: r.endpoint}
	if len(r.keys) > 0 {
		t.Key = r.keys[r.keyAt]
	}
	return t
}

// redirect notes where the peer is now. It reports whether that is news.
func (r *route) redirect(endpoint string, keys []string) bool {
	if r.endpoint == endpoint && slices.Equal(r.keys, keys) {
		return false
	}
	r.endpoint = endpoint
	if !slices.Equal(r.keys, keys) {
		// A connection stands on as long as its key is one of the peer's.
		r.keys, r.keyAt, r.tries = keys, max(0, slices.Index(keys, r.dialed.Key)), 0
	}
	r.redialAt = time.Time{}
	return true
}

// proved notes that the peer has proved to have a key. It reports whether that is one of its keys.
func (r *route) proved(key string) bool {
	at := slices.Index(r.keys, key)
	if at < 0 {
		return false
	}
	r.keyAt, r.tries = at, 0
	return true
}

// took notes that the connection has taken a frame.
func (r *route) took() { r.tries = 0 }

// retryAt is when another connection should be tried, with another key of the peer if it has
// two; zero: not at all. The connection that there is has been silent since then (zero: it is not), and onItsWay tells
// whether something that was written to it may only be slow.
func (r *route) retryAt(silentSince time.Time, onItsWay bool) time.Time {
	if silentSince.IsZero() || r.dialed.Endpoint == "" {
		return time.Time{}
	}
	interval := afreshInterval
	if onItsWay {
		interval = cautiousInterval
	}
	if keys := len(r.keys); keys > 1 {
		interval = min(interval, keyInterval<<min(r.tries/keys, 10))
	}
	return silentSince.Add(interval)
}

// due decides whether a connection is to be made now; if not yet, it says when (zero: none is). retryAt is that of
// the connection that there is.
func (r *route) due(now, retryAt time.Time) (dial bool, at time.Time) {
	if r.dialed == r.target() {
		if retryAt.IsZero() || now.Before(retryAt) {
			return false, time.Time{}
		}
		r.tries++
		r.keyAt = (r.keyAt + 1) % max(1, len(r.keys))
	}
	if now.Before(r.redialAt) {
		return false, r.redialAt
	}
	return true, time.Time{}
}
