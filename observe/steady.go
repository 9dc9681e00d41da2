package observe

import "time"

// tripsFor is how long round trips are shown before others are, unless one has doubled: each look at which none changes has no table to lay out.
const tripsFor = 10 * time.Second

// steady shows round trips as before, but each tripsFor those that differ by a quarter: one is never the same
// twice, and a page would have every link to write anew at each look for nothing that matters.
func (s *sample) steady(before *sample) {
	s.tripsAt = s.at
	if before == nil {
		return
	}
	due := s.at.Sub(before.tripsAt) >= tripsFor
	if !due {
		s.tripsAt = before.tripsAt
	}
	for i := range s.report.Stats.Peers {
		p := &s.report.Stats.Peers[i]
		old, _ := before.peer(p.ID)
		p.RoundTrip = steadyTrip(old.RoundTrip, p.RoundTrip, due)
	}
	for id, r := range s.rows {
		old := before.rows[id].Links
		for i := range r.Links {
			l := &r.Links[i]
			if i < len(old) && old[i].To == l.To { // else a server was added or removed, once
				l.RoundTrip = steadyTrip(old[i].RoundTrip, l.RoundTrip, due)
			}
		}
	}
}

// steadyTrip is the round trip to show where another one was shown before; 0 is one that is not known.
func steadyTrip[T time.Duration | float64](shown, now T, due bool) T {
	differs := shown // by how much at least
	if due {
		differs /= 4
	}
	if shown > 0 && now > 0 && max(shown-now, now-shown) < differs {
		return shown
	}
	return now
}

// steadyAge is how old to show something that has this age: in the first minute from 10 s on in steps of that, since
// links often come up together, and would all change each second.
func steadyAge(d time.Duration) time.Duration {
	const step = 10 * time.Second
	if step < d && d < time.Minute {
		return d.Truncate(step)
	}
	return d
}
