// Command bench measures cluster beside what a program could use instead, in one run
// on the same work. See README.md.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
)

func main() {
	if os.Getenv(workerVariable) != "" {
		work(os.Stdin, os.Stdout)
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	quick := flag.Bool("quick", false, "measure the headline alone")
	rounds := flag.Int("rounds", 5, "how often each peer is measured")
	limit := flag.Duration("limit", 20*time.Minute, "when to stop measuring")
	what := flag.String("what", "", "measure only what this regular expression matches, such as 'one way, 16 B|round trip'")
	who := flag.String("peers", "", "measure only the peers whose names this regular expression matches")
	write := flag.String("write", "", "the document to renew, with plots and samples in the directory of its name")
	from := flag.String("from", "", "measure nothing, take the samples from this file")
	command := flag.String("command", "", "how the document names the command that made it")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected arguments: %q", flag.Args())
	}
	whatPattern, err := regexp.Compile(*what)
	if err != nil {
		return err
	}
	whoPattern, err := regexp.Compile(*who)
	if err != nil {
		return err
	}
	var r results
	if *from != "" {
		text, err := os.ReadFile(*from)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, &r); err != nil {
			return fmt.Errorf("%s: %w", *from, err)
		}
	} else {
		plan := fullPlan()
		if *quick {
			plan = quickPlan()
		}
		plan = only(plan, whatPattern, whoPattern)
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		if r, err = measureAll(ctx, plan, *rounds, *limit); err != nil {
			return err
		}
		r.Command = cmp.Or(*command, strings.Join(append([]string{"go run ."}, os.Args[1:]...), " "))
	}
	for _, t := range r.tables() {
		fmt.Printf("%s. %s\n\n%s\n", t.title, t.text, t)
	}
	for _, n := range r.notes() {
		fmt.Println(n)
	}
	if *write != "" {
		return r.write(*write)
	}
	return nil
}

// measureAll carries the plan out within the time limit, and shows how far it is.
func measureAll(ctx context.Context, plan []experiment, rounds int, limit time.Duration) (results, error) {
	remove, err := makeKeys()
	if err != nil {
		return results{}, err
	}
	defer remove()
	total := 0
	for _, e := range plan {
		total += rounds * len(e.peers)
	}
	if total == 0 {
		return results{}, errors.New("there is nothing to measure")
	}
	bar := progressbar.NewOptions(total,
		progressbar.OptionSetWriter(os.Stderr), progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true),
		progressbar.OptionSetWidth(20), progressbar.OptionThrottle(redraw()), progressbar.OptionOnCompletion(func() { fmt.Fprintln(os.Stderr) }))
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	r := results{Date: began.Format(time.DateOnly), System: system(), Rounds: rounds}
	r.Samples = carryOut(timed, plan, rounds, func(what string) {
		bar.Describe(fmt.Sprintf("%-45.45s", what))
		bar.Add(1)
	})
	r.Took = time.Since(began).Round(time.Second).String()
	switch {
	case ctx.Err() != nil:
		return results{}, errors.New("interrupted")
	case timed.Err() != nil:
		r.Notes = append(r.Notes, fmt.Sprintf("The time limit of %v came first: %d of %d measurements were made.", limit, len(r.Samples), total))
	}
	return r, nil
}

// redraw is how often the progress is shown: often on a terminal, and elsewhere now
// and then.
func redraw() time.Duration {
	if info, err := os.Stderr.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		return 100 * time.Millisecond
	}
	return 20 * time.Second
}
