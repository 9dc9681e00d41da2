package observe

import (
	"slices"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/quantity"
)

// stateClass is the name of a state for the style sheet. States that come between up and down, of this
// version or a later one, have one together.
func stateClass(s cluster.LinkState) string {
	switch s {
	case cluster.LinkIdle:
		return "idle"
	case cluster.LinkConnecting:
		return "connecting"
	case cluster.LinkUp:
		return "up"
	case cluster.LinkDown:
		return "down"
	}
	return "between"
}

// stateWord is the name of a state, if this version has one for it.
func stateWord(s cluster.LinkState) string {
	if slices.Contains(cluster.AllLinkStates(), s) {
		return s.String()
	}
	return "unknown"
}

// roundTrip is a time between two servers, with two digits or three.
func roundTrip(d time.Duration) string {
	switch {
	case d == 0:
		return quantity.None
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < 100*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

// times says how often something was done.
func times(done string, n uint64) string {
	if n == 1 {
		return done + " once"
	}
	return done + " " + quantity.Count(n) + " times"
}
