//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pebbe/zmq4"
)

// A campaign is what came of the rows.
type campaign struct {
	Date    string
	Command string
	System  string
	// Transport is that of the servers, one of transports.
	Transport string
	Seed      uint64
	Quick     bool
	Took      time.Duration
	Results   []result
}

// A result is what came of one row.
type result struct {
	Row     string
	Promise string
	Fault   string
	Skipped string `json:",omitempty"` // why
	Found   []string
	Oracles []string // that have found something
	Figures []figure
	Took    time.Duration
}

func (res *result) verdict() string {
	switch {
	case res.Skipped != "":
		return "skipped"
	case len(res.Oracles) > 0:
		return "FAILED: " + strings.Join(res.Oracles, ", ")
	}
	return "holds"
}

// overtime is how long after its limit a campaign is ended by force: every wait in it has
// a limit of its own, so it never should be.
const overtime = 3 * time.Minute

// carryOut runs the rows, one after the other.
func carryOut(ctx context.Context, chosen []row, o options) *campaign {
	began := time.Now()
	c := &campaign{Date: began.Format(time.DateOnly), Command: o.command, System: system(), Transport: o.transport, Seed: o.seed, Quick: o.quick}
	guard := time.AfterFunc(o.limit+overtime, func() {
		fmt.Fprintln(os.Stderr, "faults: the campaign hangs; its servers end with it")
		os.Exit(1)
	})
	defer guard.Stop()
	for i := range chosen {
		r := &chosen[i]
		res := result{Row: r.name, Promise: r.promise, Fault: r.fault}
		elapsed := time.Since(began)
		o.report(fmt.Sprintf("\n[%d/%d, %v of %v] %s: %s", i+1, len(chosen), elapsed.Round(time.Second), o.limit, r.name, r.fault))
		switch missing := r.missing(); {
		case ctx.Err() != nil:
			res.Skipped = "interrupted"
		case missing != "":
			res.Skipped = missing
		case elapsed >= o.limit:
			res.Skipped = fmt.Sprintf("the limit of %v came first", o.limit)
		default:
			res.carryOut(ctx, r, o, o.limit-elapsed)
		}
		o.report(fmt.Sprintf("  %s: %s %s", r.name, res.verdict(), res.Skipped))
		c.Results = append(c.Results, res)
	}
	c.Took = time.Since(began).Round(time.Second)
	return c
}

func (res *result) carryOut(ctx context.Context, r *row, o options, left time.Duration) {
	began := time.Now()
	t, remove, err := newTrial(ctx, r, o)
	if err != nil {
		res.add(violations(err))
		return
	}
	defer remove()
	t.limit = left
	t.carryOut()
	if ctx.Err() != nil {
		res.Skipped = "interrupted"
		return
	}
	res.add(t.verdicts)
	res.Figures, res.Took = t.figures, time.Since(began).Round(100*time.Millisecond)
}

func (res *result) add(vs []violation) {
	for _, v := range vs {
		res.Found = append(res.Found, v.Error())
		if !slices.Contains(res.Oracles, v.oracle) {
			res.Oracles = append(res.Oracles, v.oracle)
		}
	}
}

// failed reports whether anything did not hold.
func (c *campaign) failed() bool {
	return slices.ContainsFunc(c.Results, func(r result) bool { return len(r.Oracles) > 0 })
}

// table shows what came of each row.
func (c *campaign) table() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "row\tverdict\ttook\tfigures")
	for i := range c.Results {
		r := &c.Results[i]
		lines := []string{r.Skipped}
		if r.Skipped == "" {
			lines = nil
			for _, f := range r.Figures {
				lines = append(lines, f.Name+": "+f.Value)
			}
		}
		if len(lines) == 0 {
			lines = []string{""}
		}
		fmt.Fprintf(w, "%s\t%s\t%v\t%s\n", r.Row, r.verdict(), r.Took, lines[0])
		for _, l := range lines[1:] {
			fmt.Fprintf(w, "\t\t\t%s\n", l)
		}
	}
	w.Flush()
	fmt.Fprintf(&b, "\n%d rows in %v, servers on %s, seed %d, %s\n", len(c.Results), c.Took, c.Transport, c.Seed, c.System)
	return b.String()
}

// advice says what was found, and how to see it again.
func (c *campaign) advice() string {
	var b strings.Builder
	var names []string
	for _, r := range c.Results {
		if len(r.Found) == 0 {
			continue
		}
		names = append(names, r.Row)
		for _, f := range r.Found {
			fmt.Fprintf(&b, "%s: %s\n", r.Row, f)
		}
	}
	quick := ""
	if c.Quick {
		quick = " -quick"
	}
	fmt.Fprintf(&b, "\nThe same faults again: (cd faults && go run .%s -transport %s -seed %d -only %s)\n", quick, c.Transport, c.Seed, strings.Join(names, ","))
	return b.String()
}

// system says what this machine is.
func system() string {
	major, minor, patch := zmq4.Version()
	return fmt.Sprintf("%s/%s, %d cores, %s, libzmq %d.%d.%d",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), major, minor, patch)
}
