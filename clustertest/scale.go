package clustertest

import (
	"slices"
	"time"
)

// A scale places times. Every moment at which something happens has a place of its
// own; the distance to the next grows with the time between, within limits, so that
// neither a burst nor a quiet hour makes the picture useless.
type scale struct {
	times []time.Duration
	ys    []int
	gaps  []mark
}

func newScale(drawn []entry) *scale {
	s := &scale{}
	if len(drawn) == 0 {
		s.times = append(s.times, 0)
	}
	for _, x := range drawn {
		s.times = append(s.times, x.At)
		if x.Fate != noFate {
			s.times = append(s.times, x.Message.Sent)
		}
	}
	slices.Sort(s.times)
	s.times = slices.Compact(s.times)
	var steps []time.Duration
	for i := 1; i < len(s.times); i++ {
		steps = append(steps, s.times[i]-s.times[i-1])
	}
	pitch := min(24, max(8, 3000/float64(len(s.times)))) // of the median step
	sorted := slices.Sorted(slices.Values(steps))
	y := float64(topMargin)
	s.ys = append(s.ys, int(y))
	for _, step := range steps {
		rise := float64(step) / float64(sorted[len(sorted)/2])
		if rise > 20 {
			s.gaps = append(s.gaps, mark{Y: int(y + 1.6*pitch), Text: short(step)})
		}
		y += pitch * min(3.2, max(0.45, rise))
		s.ys = append(s.ys, int(y))
	}
	return s
}

// y is the place of a time; of what was before the first one, that of the first one.
func (s *scale) y(t time.Duration) int {
	i, _ := slices.BinarySearch(s.times, t)
	return s.ys[min(i, len(s.ys)-1)]
}

func (s *scale) bottom() int { return s.ys[len(s.ys)-1] + 2*topMargin }

// marks are the times to show beside the picture.
func (s *scale) marks() []mark {
	var marks []mark
	last := -lineHeight
	for i, y := range s.ys {
		if y >= last+lineHeight {
			marks = append(marks, mark{y, short(s.times[i])})
			last = y
		}
	}
	return marks
}
