package observe

import (
	"slices"

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

// times says how often something was done.
func times(done string, n uint64) string {
	if n == 1 {
		return done + " once"
	}
	return done + " " + quantity.Count(n) + " times"
}
