// Package quantity writes numbers for people: how many, how much, how often, and for how long.
package quantity

import (
	"fmt"
	"strconv"
	"time"
)

// None stands for what is not known.
const None = "–"

// Count is a number with its digits in groups.
func Count(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202F" + s[i:] // a narrow space that does not break
	}
	return s
}

// Size is a number of bytes.
func Size(n float64) string { return scaled(n, 1024, " B", " KiB", " MiB", " GiB") }

// Ago is a time that has passed, in one unit.
func Ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// RoundTrip is a time between two servers, with two digits that count; 0: it is not known.
func RoundTrip(d time.Duration) string {
	if d == 0 {
		return None
	}
	unit := time.Microsecond
	for d >= 100*unit {
		unit *= 10
	}
	return d.Round(unit).String()
}

// A Rate is how much more there is each second; negative: unknown.
type Rate float64

// Unknown is the rate of what was not counted twice.
const Unknown Rate = -1

// rateMost is how far two counts may be apart for the rate between them to say what happens now.
const rateMost = 15 * time.Second

// RateOf is the rate of a counter that was before, and a time d later is now.
func RateOf(before, now uint64, d time.Duration) Rate {
	if d <= 0 || d > rateMost || now < before {
		return Unknown
	}
	return Rate(float64(now-before) / d.Seconds())
}

// String is a rate with two or three digits that count.
func (r Rate) String() string {
	if r == Unknown {
		return None
	}
	return scaled(float64(r), 1000, "", "k", "M", "G") + "/s"
}

// Bytes is String for a rate of bytes.
func (r Rate) Bytes() string {
	if r == Unknown {
		return None
	}
	return Size(float64(r)) + "/s"
}

func scaled(v, step float64, units ...string) string {
	i := 0
	for v >= step && i < len(units)-1 {
		v /= step
		i++
	}
	if v >= 9.95 || i == 0 && v == float64(int(v)) { // with a digit behind the point that would be 10.0
		return fmt.Sprintf("%.0f%s", v, units[i])
	}
	return fmt.Sprintf("%.1f%s", v, units[i])
}
