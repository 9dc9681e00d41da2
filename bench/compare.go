package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A comparison is of the library in the working tree with that of a revision.
type comparison struct {
	revision string
	sizes    string         // of messages: names of loads, with commas in between
	what     *regexp.Regexp // which rows
	pairs    int            // how often each row is measured
	window   time.Duration  // of each measurement
	limit    time.Duration  // of all
	seed     uint64         // of the order
}

// A row is one way to use the library that is compared, and what was found.
type row struct {
	measurement
	changed []float64 // new/old, one of each pair; above 1 new is faster
	same    []float64 // old/old
	lost    map[string]float64
	failed  string // why there are no more pairs
}

// compareServers is the size of the cluster in which one server broadcasts.
const compareServers = 8

func (r *row) String() string {
	return fmt.Sprintf("%s, %s: %s", r.Kind, r.Load, r.Peer)
}

// rows are those that are asked for.
func (c comparison) rows() (all []*row, err error) {
	for name := range strings.SplitSeq(c.sizes, ",") {
		name = strings.TrimSpace(name)
		if !slices.ContainsFunc(loads, func(l load) bool { return l.name == name && l.size > 0 }) {
			return nil, fmt.Errorf("%q is no size: there are %s", name, sizeNames())
		}
		for _, w := range []struct {
			kind    kind
			servers int
			peers   []peer
		}{
			{stream, 2, []peer{channels, direct}},
			{roundTrip, 2, []peer{channels, direct}},
			{broadcast, compareServers, []peer{channels}},
		} {
			for _, p := range w.peers {
				r := &row{measurement: measurement{
					Kind: w.kind, Load: name, Servers: w.servers, Peer: p.name,
					warm: min(c.window, 200*time.Millisecond), window: c.window,
				}}
				if c.what.MatchString(r.String()) {
					all = append(all, r)
				}
			}
		}
	}
	if all == nil {
		return nil, errors.New("there is nothing to compare")
	}
	return all, nil
}

func sizeNames() string {
	var all []string
	for _, l := range loads {
		if l.size > 0 {
			all = append(all, l.name)
		}
	}
	return strings.Join(all, ", ")
}

// run compares, and writes what it found. It returns an error if a row does not hold.
func (c comparison) run(ctx context.Context, out io.Writer) error {
	rows, err := c.rows()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-compare")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	v, err := buildVersions(ctx, c.revision, dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "The working tree (new) and %.12s (old): %d pairs of %v, seed %d (-seed).\n", v.commit, c.pairs, c.window, c.seed)
	began := time.Now()
	timed, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	bar := newBar(c.pairs * len(rows))
	c.measure(timed, v, rows, func(what string) {
		bar.Describe(fmt.Sprintf("%-45.45s", what))
		bar.Add(1)
	})
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	t, bad := compared(rows)
	fmt.Fprintf(out, "%s\n\n%s\n", t.text, t)
	for _, r := range rows {
		r.remark(out)
	}
	if n := restless(rows); n > 0 {
		fmt.Fprintf(out, "In %d rows the interval of old/old is wider than 10 %% to one side: smaller losses are not seen there. "+
			"Measure more pairs, or where nothing else runs.\n", n)
	}
	if timed.Err() != nil {
		fmt.Fprintf(out, "The time limit of %v came before all pairs were measured.\n", c.limit)
	}
	fmt.Fprintf(out, "It took %v.\n", time.Since(began).Round(time.Second))
	if len(bad) > 0 {
		return fmt.Errorf("%d of %d rows do not hold: %s", len(bad), len(rows), strings.Join(bad, "; "))
	}
	return nil
}

// restless counts the rows in which the machine itself varies so much that the verdict
// means little.
func restless(rows []*row) (n int) {
	for _, r := range rows {
		if same := medianInterval(r.same); same.known && min(same.low, 1/same.high) < 0.9 {
			n++
		}
	}
	return n
}

// remark writes what the table does not say.
func (r *row) remark(out io.Writer) {
	if r.failed != "" {
		fmt.Fprintf(out, "%s failed: %s.\n", r, r.failed)
	}
	for _, reason := range slices.Sorted(maps.Keys(r.lost)) {
		fmt.Fprintf(out, "%s: %.0f messages lost (%s).\n", r, r.lost[reason], reason)
	}
}

// measure measures all rows in turn, as often as there are pairs: each time old, new
// and old again, in an order that chance decides, so that a pair of new and old and a
// pair of old and old come of the same moments. A row that fails twice is left. It ends
// early when ctx does.
func (c comparison) measure(ctx context.Context, v versions, rows []*row, done func(what string)) {
	chance := rand.New(rand.NewPCG(c.seed, 0))
	programs := [...]string{v.old, v.new, v.old}
	failures := make(map[*row]int)
	for range c.pairs {
		for _, r := range rows {
			var rate [len(programs)]float64
			order := chance.Perm(len(programs)) // also where a row is left: the seed decides the others' then, too
			for _, i := range order {
				if ctx.Err() != nil {
					return
				}
				if failures[r] == 2 {
					break
				}
				m := r.measurement
				m.program = programs[i]
				found, err := m.take(ctx)
				if ctx.Err() != nil {
					return // it may be half a measurement
				}
				if err != nil {
					failures[r]++
					r.failed = err.Error()
					break
				}
				rate[i] = found["rate"]
				r.note(found)
			}
			if !slices.Contains(rate[:], 0) {
				r.changed = append(r.changed, rate[1]/rate[0])
				r.same = append(r.same, rate[2]/rate[0])
			}
			done(r.String())
		}
	}
}

// note adds up what was lost.
func (r *row) note(found values) {
	for name, n := range found {
		if reason, ok := strings.CutPrefix(name, lostPrefix); ok && n > 0 {
			if r.lost == nil {
				r.lost = make(map[string]float64)
			}
			r.lost[reason] += n
		}
	}
}

// compared makes a table of the rows, and returns the names of those that do not hold.
func compared(rows []*row) (t table, bad []string) {
	t = table{
		text: "Messages per second, new as a multiple of old, and old of old: the median of the pairs, and its " +
			"95 % interval by order statistics. A row holds if its interval contains no loss beyond 3 %, or is no worse than old/old.",
		header: []string{"", "pairs", "new/old", "old/old", "verdict"},
	}
	for _, r := range rows {
		changed, same := medianInterval(r.changed), medianInterval(r.same)
		v := judge(changed, same)
		if r.failed != "" && v == tooFew {
			v = failed
		}
		if !v.holds() {
			bad = append(bad, r.String())
		}
		t.rows = append(t.rows, []string{r.String(), fmt.Sprint(len(r.changed)), changed.String(), same.String(), string(v)})
	}
	return t, bad
}
