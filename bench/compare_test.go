package main

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTheIntervalOfAMedianIsThatOfTheBinomialDistribution(t *testing.T) {
	// From tables of the confidence interval of a median: the rank of its low end.
	for n, want := range map[int]int{1: 0, 5: 0, 6: 1, 8: 1, 9: 2, 10: 2, 15: 4, 20: 6, 25: 8, 30: 10, 50: 18, 100: 40, 1000: 469} {
		if got := orderStatistic(n); got != want {
			t.Errorf("of %d figures: rank %d, want %d", n, got, want)
		}
	}
	var figures []float64
	for i := range 20 {
		figures = append(figures, float64((i*7)%20+1)) // 1 to 20 in another order
	}
	before := slices.Clone(figures)
	if got, want := medianInterval(figures), (interval{10.5, 6, 15, true}); got != want {
		t.Errorf("of 1 to 20: %+v, want %+v", got, want)
	}
	if !slices.Equal(figures, before) {
		t.Error("the figures were put into another order")
	}
	if got, want := medianInterval([]float64{3, 1, 2}), (interval{median: 2}); got != want {
		t.Errorf("of three figures: %+v, want %+v", got, want)
	}
	if got := medianInterval(nil); got != (interval{}) {
		t.Errorf("of nothing: %+v", got)
	}
}

func TestARowHoldsIfItLosesNothingOrNoMoreThanOldAgainstOld(t *testing.T) {
	quiet := interval{1, 0.99, 1.01, true}
	noisy := interval{1.02, 0.92, 1.1, true}
	for _, c := range []struct {
		name          string
		changed, same interval
		want          verdict
	}{
		{"as fast as before", interval{1, 0.98, 1.02, true}, quiet, holds},
		{"faster", interval{1.5, 1.4, 1.6, true}, quiet, holds},
		{"just no loss", interval{0.975, 0.97, 0.98, true}, quiet, holds},
		{"a loss of 4 %", interval{0.96, 0.95, 0.965, true}, quiet, loses},
		{"perhaps a loss", interval{0.99, 0.96, 1.02, true}, quiet, undecided},
		{"as old varies", interval{0.99, 0.93, 1.05, true}, noisy, asOld},
		{"as old varies, had its pairs been called the other way round", interval{0.99, 0.91, 1.05, true}, noisy, asOld},
		{"more than old varies", interval{0.99, 0.9, 1.05, true}, noisy, undecided},
		{"slower within what old varies", interval{0.94, 0.93, 0.96, true}, noisy, loses},
		{"slower, and old varies much", interval{0.94, 0.93, 0.975, true}, noisy, undecided},
		{"too few pairs", interval{median: 1}, interval{median: 1}, tooFew},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := judge(c.changed, c.same); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if got, want := c.want.holds(), c.want == holds || c.want == asOld; got != want {
				t.Errorf("holds is %t, want %t", got, want)
			}
		})
	}
}

func TestRowsThatDoNotHoldAreNamed(t *testing.T) {
	measured := func(size string, changed float64) *row {
		r := &row{measurement: measurement{Kind: stream, Load: size, Peer: channels.name}}
		for i := range 20 {
			r.changed = append(r.changed, changed+float64(i)/1e4)
			r.same = append(r.same, 1+float64(i)/1e4)
		}
		return r
	}
	slow, broken := measured("1 KiB", 0.9), measured("1 MiB", 1)
	broken.changed, broken.same, broken.failed = broken.changed[:1], broken.same[:1], "the reason"
	table, bad := compared([]*row{measured("16 B", 1), slow, broken})
	if want := []string{slow.String(), broken.String()}; !slices.Equal(bad, want) {
		t.Errorf("named: %q, want %q", bad, want)
	}
	for i, want := range []verdict{holds, loses, failed} {
		if got := table.rows[i][4]; got != string(want) {
			t.Errorf("row %d is %q, want %q\n%s", i, got, want, table)
		}
	}
}

func TestRowsOfARestlessMachineAreCounted(t *testing.T) {
	var rows []*row
	for _, spread := range []float64{0.05, 0.3, -0.3} {
		r := new(row)
		for i := range 20 {
			r.same = append(r.same, 1+spread*float64(i)/19)
		}
		rows = append(rows, r)
	}
	if got := restless(append(rows, new(row))); got != 2 {
		t.Errorf("%d rows, want 2", got)
	}
}

func TestAComparisonAsksForRowsThatAre(t *testing.T) {
	everything := regexp.MustCompile("")
	all, err := comparison{sizes: "16 B, 1 KiB,1 MiB,256 B,64 KiB", what: everything}.rows()
	if err != nil {
		t.Fatal(err)
	}
	if want := 5 * 5; len(all) != want {
		t.Errorf("%d rows, want %d: %v", len(all), want, all)
	}
	for _, c := range []comparison{
		{sizes: "17 B", what: everything},
		{sizes: "struct", what: everything},
		{sizes: "16 B", what: regexp.MustCompile("nothing")},
	} {
		if rows, err := c.rows(); err == nil {
			t.Errorf("%q matching %v: %v, want an error", c.sizes, c.what, rows)
		}
	}
}

// committed is the revision to compare with. It skips the test where there is none.
func committed(t *testing.T) string {
	t.Helper()
	if _, err := output(t.Context(), "", "git", "rev-parse", "--verify", "HEAD"); err != nil {
		t.Skip("these sources are in no Git repository: ", err)
	}
	return "HEAD"
}

func TestTheLastCommitIsComparedWithTheWorkingTree(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds two programs")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	c := comparison{
		revision: committed(t), sizes: "16 B,1 MiB", what: regexp.MustCompile(`broadcast|round trip, 16 B`),
		pairs: 2, window: 20 * time.Millisecond, limit: 4 * time.Minute, seed: 1,
	}
	var out strings.Builder
	err := c.run(ctx, &out)
	// Two pairs have no interval.
	if err == nil || !strings.Contains(err.Error(), "4 of 4 rows do not hold") {
		t.Errorf("got the error %v, want that 4 of 4 rows do not hold", err)
	}
	text := out.String()
	t.Log(text)
	if got := strings.Count(text, string(tooFew)); got != 4 {
		t.Errorf("%d rows have too few pairs, want 4", got)
	}
	for _, want := range []string{"seed 1", "round trip, 16 B: cluster, direct", "broadcast, 1 MiB: cluster ", "2 pairs"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not said", want)
		}
	}
	for _, bad := range []string{"failed", "lost"} {
		if strings.Contains(text, bad) {
			t.Errorf("%q is said", bad)
		}
	}
}

func TestWhatIsNoRevisionIsNotCompared(t *testing.T) {
	committed(t)
	for _, revision := range []string{"no-such-revision", "--all"} {
		if _, err := buildVersions(t.Context(), revision, t.TempDir()); err == nil || !strings.Contains(err.Error(), revision) {
			t.Errorf("%q: got the error %v, want one that names it", revision, err)
		}
	}
}

func TestNothingIsMeasuredAfterTheTimeLimit(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	rows := []*row{{measurement: measurement{Kind: stream, Load: smallLoad, Servers: 2, Peer: channels.name}}}
	comparison{pairs: 3}.measure(ctx, versions{}, rows, func(what string) { t.Errorf("%s was measured", what) })
	if len(rows[0].changed) > 0 {
		t.Errorf("pairs: %v", rows[0].changed)
	}
}

func TestTwoServersExchangeAllKindsOfMessages(t *testing.T) {
	remove, err := makeKeys()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(remove)
	for _, p := range []peer{channels, direct, keyed} {
		t.Run(p.name, func(t *testing.T) {
			if err := exchangeBetween(t.Context(), p.name, [2]string{}); err != nil {
				t.Error(err)
			}
		})
	}
}
