package quantity

import (
	"testing"
	"time"
)

func TestNumbersReadWell(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Count(0), "0"}, {Count(999), "999"}, {Count(1000), "1\u202F000"}, {Count(1234567), "1\u202F234\u202F567"},
		{Size(0), "0 B"}, {Size(1023), "1023 B"}, {Size(1024), "1.0 KiB"}, {Size(10.4 * 1024), "10 KiB"}, {Size(9.97 * 1024), "10 KiB"}, {Size(16 << 20), "16 MiB"}, {Size(3 << 40), "3072 GiB"},
		{Rate(0).String(), "0/s"}, {Rate(0.25).String(), "0.2/s"}, {Rate(12).String(), "12/s"}, {Rate(9.96).String(), "10/s"}, {Rate(1500).String(), "1.5k/s"},
		{Unknown.String(), None}, {Unknown.Bytes(), None}, {Rate(2048).Bytes(), "2.0 KiB/s"},
		{Ago(-time.Second), "0 s"}, {Ago(59 * time.Second), "59 s"}, {Ago(61 * time.Minute), "1 h"}, {Ago(72 * time.Hour), "3 days"},
		{RoundTrip(0), None}, {RoundTrip(12345), "12µs"}, {RoundTrip(99600), "100µs"}, {RoundTrip(123456), "120µs"}, {RoundTrip(1234567), "1.2ms"}, {RoundTrip(12345678), "12ms"}, {RoundTrip(123456789), "120ms"}, {RoundTrip(1234567890), "1.2s"},
		{RateOf(1, 11, 2*time.Second).String(), "5/s"}, {RateOf(11, 1, time.Second).String(), None}, {RateOf(1, 2, 0).String(), None}, {RateOf(1, 2, time.Hour).String(), None},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}
