//go:build linux

package main

import (
	"slices"
	"time"
)

// rateWindow is what a rate is measured in.
const rateWindow = time.Second

// rates are the deliveries in each whole window of the span.
func (b *books) rates(s span, which func(*record) bool) []float64 {
	windows := make([]float64, int(s.length()/rateWindow))
	b.deliveries(func(r *record) {
		if !s.has(r.at) || !which(r) {
			return
		}
		if i := int((r.at - s.from) / int64(rateWindow)); i < len(windows) {
			windows[i]++
		}
	})
	return windows
}

// keptRate compares the median rate during a fault with that before it.
func (b *books) keptRate(before, during span, which func(*record) bool) (ratio float64, v *violation) {
	was, is := median(b.rates(before, which)), median(b.rates(during, which))
	if was == 0 {
		v := found(oracleVacuity, "there was no traffic before the fault")
		return 0, &v
	}
	ratio = is / was
	if ratio < leastRate {
		v := found(oracleRate, "%.0f messages a second during the fault, %.0f before: %.1f %%, and %.0f %% is wanted", is, was, 100*ratio, 100*leastRate)
		return ratio, &v
	}
	return ratio, nil
}

// leastRate is what healthy servers keep of their rate while others are ill.
const leastRate = 0.95

func median(xs []float64) float64 {
	if len(xs) == 0 {
		return 0
	}
	xs = slices.Sorted(slices.Values(xs))
	return (xs[(len(xs)-1)/2] + xs[len(xs)/2]) / 2
}

// traffic finds out whether enough was delivered in each of the spans for a fault
// between them to mean anything.
func (b *books) traffic(least int, which func(*record) bool, spans ...span) (vs []violation) {
	for _, s := range spans {
		if n := b.between(s, which); n < least {
			vs = append(vs, found(oracleVacuity, "%d messages in %v of traffic; %d are wanted", n, s.length().Round(time.Millisecond), least))
		}
	}
	return vs
}

// stale finds more messages that are older than the age than may have been on their way.
func (b *books) stale(age time.Duration, most int, which func(*record) bool) (n int, v *violation) {
	b.deliveries(func(r *record) {
		if which(r) && since(r.handed, r.at) > age {
			n++
		}
	})
	if n > most {
		v := found(oracleStale, "%d messages were delivered more than %v after they were handed over; %d may have been on their way", n, age, most)
		return n, &v
	}
	return n, nil
}
