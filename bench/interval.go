package main

import (
	"fmt"
	"math"
	"slices"
)

// An interval is the median of some figures, and where the median of all that could
// have been measured lies with a confidence of 95 %.
type interval struct {
	median, low, high float64
	known             bool // there are enough figures for low and high
}

// confidence is that of an interval.
const confidence = 0.95

// medianInterval takes the ends from the figures themselves: the k-th smallest and the
// k-th largest enclose the median unless fewer than k figures are on one side of it,
// and how many are is a binomial variable of probability 1/2, whatever the distribution
// of the figures. So the interval is exact: k is the largest with which both errors
// together have a probability of at most 5 %. Fewer than 6 figures have no such k.
func medianInterval(figures []float64) interval {
	s, ok := summarize(figures)
	if !ok {
		return interval{}
	}
	k := orderStatistic(len(figures))
	if k == 0 {
		return interval{median: s.median}
	}
	f := slices.Sorted(slices.Values(figures))
	return interval{s.median, f[k-1], f[len(f)-k], true}
}

// orderStatistic is the largest k with 2 P(X < k) <= 1 - confidence, where X is the
// number of heads when n coins are thrown. 0: there is none.
func orderStatistic(n int) int {
	all, _ := math.Lgamma(float64(n) + 1)
	below := 0.0 // P(X <= k)
	for k := 0; ; k++ {
		heads, _ := math.Lgamma(float64(k) + 1)
		tails, _ := math.Lgamma(float64(n-k) + 1)
		below += math.Exp(all - heads - tails - float64(n)*math.Ln2)
		if 2*below > 1-confidence {
			return k
		}
	}
}

func (i interval) String() string {
	switch {
	case i.known:
		return fmt.Sprintf("%.3f (%.3f–%.3f)", i.median, i.low, i.high)
	case i.median > 0:
		return fmt.Sprintf("%.3f", i.median)
	}
	return "–"
}

// A verdict says whether a version of the library is as fast as an earlier one.
type verdict string

const (
	holds     verdict = "holds"
	asOld     verdict = "holds: no worse than old/old"
	loses     verdict = "LOSS"
	undecided verdict = "UNDECIDED"
	tooFew    verdict = "TOO FEW PAIRS"
	failed    verdict = "FAILED"
)

// tolerated is the least ratio that is no loss.
const tolerated = 0.97

// judge compares the ratio of new to old with that of old to old, both of speeds. It
// holds if the interval contains no loss beyond 3 %. Where the machine itself varies
// more, it holds if the interval contains no greater loss than that of old against old
// does, in which of the two is called the first is a matter of chance, and contains a
// ratio as good as the median of that.
func judge(changed, same interval) verdict {
	switch {
	case !changed.known || !same.known:
		return tooFew
	case changed.low >= tolerated:
		return holds
	case changed.low >= min(same.low, 1/same.high) && changed.high >= min(same.median, 1/same.median):
		return asOld
	case changed.high < tolerated:
		return loses
	}
	return undecided
}

func (v verdict) holds() bool { return v == holds || v == asOld }
