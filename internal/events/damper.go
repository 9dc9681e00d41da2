package events

import "time"

const (
	// HoldLeast is how long a peer that was down has to be up before that is told, for the first time.
	HoldLeast = 250 * time.Millisecond
	// HoldMost bounds it: it doubles each time that the peer goes down again.
	HoldMost = 16 * time.Second
	// Steady is how long a peer has to be up for its next hold to be HoldLeast again.
	Steady = time.Minute
)

// A Damper decides when it is told that a peer is up or down. Down is told at once, and up after a hold, so that a peer which goes up and down
// quickly is told to be down once, and up when it stays so. The zero value is of a peer of which nothing is known.
type Damper struct {
	Told  Told
	Flaps uint64 // how often it went down after it was up, told or not

	up    bool
	since time.Time // Told is Up
	hold  time.Duration
	due   time.Time // when up is told; zero: it is not about to be
}

// Told is what was told last.
type Told uint8

const (
	Nothing Told = iota
	ToldUp
	ToldDown
)

// Up takes in that the peer is up, and reports whether that is to be told now.
func (d *Damper) Up(now time.Time) (tell bool) {
	if d.up {
		return false
	}
	d.up = true
	if d.hold > 0 {
		d.due = now.Add(d.hold)
		return false
	}
	return d.tellUp(now)
}

// Down takes in that the peer is down, and reports whether that is to be told now.
func (d *Damper) Down(now time.Time) (tell bool) {
	if d.up {
		d.Flaps++
		if d.Told == ToldUp && now.Sub(d.since) >= Steady {
			d.hold = 0
		}
		d.hold = min(max(2*d.hold, HoldLeast), HoldMost)
	}
	tell = d.Told != ToldDown
	d.up, d.due, d.Told = false, time.Time{}, ToldDown
	return tell
}

// IsUp reports whether the peer is up, told or not.
func (d *Damper) IsUp() bool { return d.up }

// Due is when Overdue is to be called; zero: never.
func (d *Damper) Due() time.Time { return d.due }

// Overdue reports whether it is to be told now that the peer is up.
func (d *Damper) Overdue(now time.Time) (tell bool) {
	return !d.due.IsZero() && !now.Before(d.due) && d.tellUp(now)
}

func (d *Damper) tellUp(now time.Time) bool {
	d.Told, d.since, d.due = ToldUp, now, time.Time{}
	return true
}
