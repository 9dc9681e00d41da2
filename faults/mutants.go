//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/abhishekg16/cluster/internal/flaw"
)

// A mutant is a rule of the library that is broken, the row that shows it, and the oracle
// that has to name it.
type mutant struct{ rule, row, oracle string }

var mutants = []mutant{
	{flaw.Order, "crossed", oracleInversion},
	{flaw.Dedupe, "twice", oracleDuplicate},
	{flaw.Life, "late", oracleIncarnation},
	{flaw.Gap, "resets", oracleConservation},
	{flaw.Drops, "pause", oracleConservation},
	{flaw.Queue, "pause", oracleBound},
	{flaw.Size, "size", oracleSize},
	{flaw.Close, "close", oracleClose},
}

// needHooks is for rows that need a build of their servers with the tag mutants.
var needHooks = need{"the go command, and to be run in the directory of its sources", func() error {
	if _, err := exec.LookPath("go"); err != nil {
		return err
	}
	_, err := os.Stat("mutants.go")
	return err
}}

// buildHooked builds this program with the tag mutants.
func buildHooked(ctx context.Context, dir string) (exe string, err error) {
	exe = filepath.Join(dir, "faults-mutants")
	out, err := exec.CommandContext(ctx, "go", "build", "-tags", "mutants", "-buildvcs=false", "-o", exe, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building with the tag mutants: %w\n%s", err, out)
	}
	return exe, nil
}

// mutate runs for each mutant the row that is to show it, with the rule broken and without.
func mutate(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp(o.dir, "faults-mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := needHooks.check(); err != nil {
		return fmt.Errorf("-mutants needs %s: %w", needHooks.what, err)
	}
	if o.exe, err = buildHooked(ctx, dir); err != nil {
		return err
	}
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
		var found [2][]string
		for i, rule := range []string{m.rule, ""} {
			o.environment = []string{"CLUSTER_MUTANT=" + rule}
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
