//go:build linux

package main

import "testing"

func TestOracleOfDeliver(t *testing.T) {
	// Message 1 is taken, and message 2 is not; Deliver returns 50 ms after it was called.
	for _, c := range []struct {
		name    string
		said    [2]int64
		stopped int64 // the receiver, at this millisecond, and killed later; zero: it was not
		late    int64 // by so many milliseconds more Deliver returns later
		want    string
		s       sayings
	}{
		{"what was taken is delivered, what was not is not", [2]int64{saidDelivered, saidNot}, 0, 0, "", sayings{delivered: 1, not: 1}},
		{"nil for what was not taken", [2]int64{saidDelivered, saidDelivered}, 0, 0, oracleDeliver, sayings{delivered: 2}},
		{"nil for what died with its receiver", [2]int64{saidDelivered, saidDelivered}, 60, 0, "", sayings{delivered: 2, takenAlong: 1}},
		{"nil long before the receiver stopped", [2]int64{saidDelivered, saidDelivered}, 800, 0, oracleDeliver, sayings{delivered: 2}},
		{"nil for what was sent to a receiver that had stopped", [2]int64{saidDelivered, saidDelivered}, -500, 0, oracleDeliver, sayings{delivered: 2}},
		{"nil long after the receiver stopped", [2]int64{saidDelivered, saidDelivered}, 60, 2000, oracleDeliver, sayings{delivered: 2}},
		{"an error for what was taken", [2]int64{saidNot, saidNot}, 0, 0, oracleDeliver, sayings{not: 2}},
		{"nobody knows, and nothing was wrong", [2]int64{saidDelivered, saidUnknown}, 0, 0, oracleDeliver, sayings{delivered: 1, unknown: 1}},
		{"nobody knows, since the receiver had stopped", [2]int64{saidUnknown, saidUnknown}, -500, 0, "", sayings{unknown: 2}},
		{"it has not returned", [2]int64{}, 0, 0, "", sayings{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			story := newStory(t, 2, 1)
			for i, said := range c.said {
				if r := &story.b.lives[0].sent[i]; said != 0 {
					r.told = (r.at+(50+c.late)*millisecond)&^3 | said
				}
			}
			l := story.receiver()
			if l.stopped = l.ended; c.stopped != 0 {
				l.killed, l.stopped = true, c.stopped*millisecond
			}
			s, vs := story.b.told()
			if s != c.s {
				t.Errorf("it counts %+v, want %+v", s, c.s)
			}
			switch {
			case c.want == "" && len(vs) > 0:
				t.Errorf("it has found %v", vs)
			case c.want != "" && (len(vs) != 1 || vs[0].oracle != c.want):
				t.Errorf("it has found %v, want one of %s", vs, c.want)
			}
		})
	}
}
