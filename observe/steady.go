package observe

import "time"

// steady shows a round trip as before while it differs by less than a quarter: it is never the same
// twice, and a page would have every link to write anew at each look for nothing that matters.
func (s *sample) steady(before *sample) {
	if before == nil {
		return
	}
	for i := range s.report.Stats.Peers {
		p := &s.report.Stats.Peers[i]
		old, _ := before.peer(p.ID)
		p.RoundTrip = steadyTrip(old.RoundTrip, p.RoundTrip)
	}
	for id, r := range s.rows {
		old := before.rows[id].Links
		for i := range r.Links {
			l := &r.Links[i]
			if i < len(old) && old[i].To == l.To { // else a server was added or removed, once
				l.RoundTrip = steadyTrip(old[i].RoundTrip, l.RoundTrip)
			}
		}
	}
}

// steadyTrip is the round trip to show where another one was shown before; 0 is one that is not known.
func steadyTrip[T time.Duration | float64](shown, now T) T {
	if shown > 0 && now > 0 && max(shown-now, now-shown) < shown/4 {
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
