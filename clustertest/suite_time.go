package clustertest

import "time"

// patience is a SendTimeout for a rule in which some peers are given up, and others must not be. It is the one that the rule wants in virtual
// time, where nothing else makes a server late. Where time is real a busy machine may stop one that is there for longer than that.
func (t *trial) patience(want time.Duration) time.Duration {
	if t.impl.Bubble {
		return want
	}
	return 2 * time.Second
}

// slack is how much later than it should a thing may happen. Where time is real it tells what is late from what waits for each message, or for ever.
func (t *trial) slack() time.Duration {
	if t.impl.Bubble {
		return trialSlack
	}
	return trialLimit
}

// quiet is how long nothing happens until it counts as nothing: not long in virtual time, where nothing makes it late.
func (t *trial) quiet(otherwise time.Duration) time.Duration {
	if t.impl.Bubble {
		return 30 * time.Millisecond
	}
	return otherwise
}
