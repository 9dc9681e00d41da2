package observe

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
)

// What a page of many servers costs is what changes on it: of links that only go on nothing does for seconds at a time.
func TestLinksThatOnlyGoOnAreNotWrittenAnew(t *testing.T) {
	const from, to = 20, 29 // seconds since the links came up
	var before *sample
	var last *view
	for i := from; i <= to; i++ {
		p := peer(1, cluster.LinkUp, 0)
		p.RoundTrip = time.Millisecond + time.Duration(i%5)*50*time.Microsecond
		p.Sent.Sent, p.Received.Received = uint64(i), uint64(i)
		now := at(i, p)
		now.rows[1] = row{ID: 1, Time: now.at, Incarnation: 7, Links: []link{
			{To: 0, State: rowState{cluster.LinkUp}, Sent: uint64(i), RoundTrip: p.RoundTrip.Seconds()},
		}}
		now.steady(before)
		now.rows[0] = rowOf(now.report.Stats, now.at)
		v := newView(before, now, nil, nil)
		if i > from+1 { // from when there are rates
			for j, c := range v.cells {
				if c != last.cells[j] {
					t.Errorf("after %d s %q has become %q", i, last.cells[j], c)
				}
			}
		}
		before, last = now, v
	}
}

func TestARoundTripIsShownAnewWhenItDiffersByAQuarter(t *testing.T) {
	const ms = time.Millisecond
	var before *sample
	for i, c := range []struct {
		at         int // seconds
		trip, want time.Duration
	}{
		{0, 0, 0}, {1, 100 * ms, 100 * ms}, {10, 124 * ms, 100 * ms}, {20, 76 * ms, 100 * ms}, {30, 126 * ms, 126 * ms}, {40, 101 * ms, 126 * ms}, {50, 90 * ms, 90 * ms},
		{51, 170 * ms, 90 * ms}, {52, 190 * ms, 190 * ms}, {53, 20 * ms, 190 * ms}, {60, 20 * ms, 20 * ms}, {61, 0, 0}, // in between only what has doubled, and what ends
	} {
		p := peer(1, cluster.LinkUp, 0)
		p.RoundTrip = c.trip
		now := at(c.at, p)
		now.rows[1] = row{ID: 1, Time: now.at, Links: []link{{To: 0, RoundTrip: c.trip.Seconds()}}}
		if i == 6 {
			before.rows[1] = row{ID: 1, Time: now.at, Links: []link{{To: 5, RoundTrip: 0.09}}} // of another server: nothing is known of before
		}
		now.steady(before)
		if got, row := now.report.Stats.Peers[0].RoundTrip, now.rows[1].Links[0].RoundTrip; got != c.want || row != c.want.Seconds() {
			t.Errorf("look %d: %v is shown as %v, and in the row of another server as %v s, want %v", i, c.trip, got, row, c.want)
		}
		before = now
	}
}

func TestAnAgeIsShownInStepsWithinTheFirstMinute(t *testing.T) {
	var shown []string
	for s := range 130 {
		if text := fmt.Sprint(steadyAge(time.Duration(s)*time.Second + 300*time.Millisecond).Truncate(time.Second)); !slices.Contains(shown, text) {
			shown = append(shown, text)
		}
	}
	if want := 10 + 5 + 70; len(shown) != want || shown[9] != "9s" || shown[10] != "10s" || shown[11] != "20s" || shown[15] != "1m0s" {
		t.Errorf("in the first seconds %d ages are shown, want %d: %v", len(shown), want, shown)
	}
}
