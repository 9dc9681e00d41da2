//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// A mutant is a rule of the library that is broken, by edits, the row that shows it, and the oracle that
// has to name it.
type mutant struct {
	rule, row, oracle string
	edits             []edit
}

// outOfPlace lets a frame leave its stream that is not the next, where the condition holds.
func outOfPlace(condition string) []edit {
	const at = "	switch judge(r.State(), a) {\n	case Take:"
	return []edit{{"internal/stream/receiver.go", at, `
	if ` + condition + ` {
		before := r.want
		r.want = f.Start
		if r.take(f); r.want.Before(before) {
			r.want = before
		}
		return
	}
` + at}}
}

var mutants = []mutant{
	// Frames that came too early wait for those before them.
	{"order", "crossed", oracleInversion, outOfPlace("a != InPlace && !f.Bare()")},
	// A frame that had come before is refused.
	{"dedupe", "twice", oracleDuplicate, outOfPlace("(a == Late || a == Repeated) && !f.Bare()")},
	// Nothing of an earlier life of a peer is taken.
	{"life", "late", oracleIncarnation, []edit{
		{"internal/stream/lives.go", "	case past >= 0:\n", "	case false:\n"},
	}},
	// What was lost on the way is sent again.
	{"resend", "resets", oracleConservation, []edit{
		{"internal/stream/window.go", "		f.due, f.again = true, now\n		w.due++\n", "		f.again = now\n"},
	}},
	// A connection of which nothing is acknowledged is replaced.
	{"replace", "roam", oracleConservation, []edit{
		{"internal/outgoing/replace.go", "return transport.Stalled(l.conn, l.sender.DoubtTime())", "return transport.Stalled(nil, 0)"},
	}},
	// What its sender keeps, and will send again, is not given up before.
	{"patience", "resets", oracleConservation, []edit{
		{"internal/stream/receiver.go", "		r.ask(now)\n	} else {\n		r.outwait(now)\n	}\n", "		r.ask(now)\n	}\n	r.outwait(now)\n"},
		{"internal/stream/receiver.go", "HoldTime = 150 * time.Millisecond", "HoldTime = 20 * time.Millisecond"},
	}},
	// What is missing in the sequence is counted.
	{"gap", "hole-7s", oracleConservation, []edit{
		{"internal/stream/held.go", "	r.Books.Lost, r.Books.Missed = r.Books.Lost+lost, r.Books.Missed+missed\n	if r.part.discard {\n", "	if _, _ = lost, missed; r.part.discard {\n"},
	}},
	// Deliver returns nil for what the peer has put into its Inbox, and for nothing else.
	{"deliver", "deliver-kills", oracleDeliver, []edit{
		{"outcome.go", "	case f.Unknown:\n		d.fail(pid, ErrUnconfirmed)\n", "	case f.Unknown:\n"},
	}},
	// What is dropped from a queue is counted.
	{"drops", "pause", oracleConservation, []edit{
		{"internal/outgoing/drop.go", "	l.books.Dropped[r] += uint64(n)\n", ""},
	}},
	// A link queues no more than QueueBytes.
	{"queue", "pause", oracleBound, []edit{
		{"internal/outgoing/queue.go", "return q.bytes == 0 || q.bytes+size <= limit", "return true"},
	}},
	// What is larger than MaxMessageBytes is neither sent nor received.
	{"size", "size", oracleSize, []edit{
		{"internal/outgoing/batch.go", "if n := len(payload) - kind.Around(); n > limit {", "if n := 0; n > limit {"},
		{"internal/stream/assembly.go", "if p.total > r.limits.MaxMessage {", "if false {"},
		{"internal/delivery/slab.go", "case len(payload) > lim.Bytes:", "case false:"},
	}},
	// What was accepted is delivered before the node closes.
	{"close", "close", oracleClose, []edit{
		{"internal/stream/sender.go", "s.phase = max(s.phase, Draining)", "s.phase = Cut"},
	}},
}

// mutate runs for each mutant the row that is to show it, with the rule broken and without.
func mutate(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp(o.dir, "faults-mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := needSources.check(); err != nil {
		return fmt.Errorf("-mutants needs %s: %w", needSources.what, err)
	}
	whole := o.exe
	o.quick = true
	var verdicts []verdict
	asked := o.only
	for _, m := range mutants {
		if len(asked) > 0 && !slices.Contains(asked, m.row) {
			continue
		}
		o.only = []string{m.row}
		chosen, err := choose(o)
		if err != nil {
			return err
		}
		broken, err := buildEdited(ctx, dir, "faults-"+m.rule, "", m.edits)
		if err != nil {
			return err
		}
		var found [2][]string
		for i, exe := range []string{broken, whole} {
			o.exe = exe
			c := carryOut(ctx, chosen, o)
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			if c.Results[0].Skipped != "" {
				return fmt.Errorf("%s: %s", m.row, c.Results[0].Skipped)
			}
			found[i] = c.Results[0].Oracles
		}
		verdicts = append(verdicts, verdict{m.rule, m.row, m.oracle, found[0], found[1]})
	}
	fmt.Printf("\n%s\n", mutantTable(verdicts))
	if o.write != "" {
		err := renew(o.write, func(s *standing) {
			s.Mutants, s.MutantsDate, s.MutantsCommand = verdicts, time.Now().Format(time.DateOnly), o.command
		})
		if err != nil {
			return err
		}
	}
	if slices.ContainsFunc(verdicts, func(v verdict) bool { return !v.noticed() }) {
		return errFailed
	}
	return nil
}

func mutantTable(verdicts []verdict) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "rule\trow\tit names\tfound when the rule is broken\tfound when it is not\t")
	for _, v := range verdicts {
		word := "noticed"
		if !v.noticed() {
			word = "MISSED"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", v.Rule, v.Row, v.Oracle, oneOf(v.Broken), oneOf(v.Whole), word)
	}
	w.Flush()
	return b.String()
}

func oneOf(oracles []string) string {
	if len(oracles) == 0 {
		return "nothing"
	}
	return strings.Join(oracles, ", ")
}
