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
	"math/rand/v2"
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	quick := flag.Bool("quick", false, "measure the headline alone")
	rounds := flag.Int("rounds", 5, "how often each peer is measured")
	limit := flag.Duration("limit", 0, "when to stop measuring (default 25m, or 45m with -compare)")
	what := flag.String("what", "", "measure only what this regular expression matches, such as 'one way, 16 B|round trip'")
	who := flag.String("peers", "", "measure only the peers whose names this regular expression matches")
	write := flag.String("write", "", "the document to renew, with plots and samples in the directory of its name")
	from := flag.String("from", "", "measure nothing, take the samples from this file")
	command := flag.String("command", "", "how the document names the command that made it")
	compare := flag.String("compare", "", "compare the library in the working tree with that of this Git revision, and nothing else")
	pairs := flag.Int("pairs", 20, "with -compare: how often each row is measured")
	sizes := flag.String("sizes", "16 B,1 KiB,1 MiB", "with -compare: sizes of messages, of "+sizeNames())
	window := flag.Duration("window", time.Second, "with -compare: how long each measurement lasts")
	seed := flag.Uint64("seed", rand.Uint64(), "with -compare: of the order of measurements")
	compat := flag.String("compat", "", "let the library in the working tree and that of this Git revision exchange messages, and nothing else")
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
	switch {
	case *compare != "":
		return comparison{*compare, *sizes, whatPattern, *pairs, *window, cmp.Or(*limit, 45*time.Minute), *seed}.run(ctx, os.Stdout)
	case *compat != "":
		return compatible(ctx, *compat, os.Stdout)
	}
	var r results
	if *from != "" {
		r, err = readResults(*from)
	} else {
		plan := fullPlan()
		if *quick {
			plan = quickPlan()
		}
		r, err = measureAll(ctx, only(plan, whatPattern, whoPattern), *rounds, cmp.Or(*limit, 25*time.Minute))
		r.Command = cmp.Or(*command, strings.Join(append([]string{"go run ."}, os.Args[1:]...), " "))
	}
	if err != nil {
		return err
	}
	r.print()
	if *write != "" {
		return r.write(*write)
	}
	return nil
}

func readResults(path string) (r results, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

func (r results) print() {
	for _, t := range r.tables() {
		fmt.Printf("%s. %s\n\n%s\n", t.title, t.text, t)
	}
	for _, n := range r.notes() {
		fmt.Println(n)
	}
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
	bar := newBar(total)
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

// newBar shows how much of so many things is done.
func newBar(total int) *progressbar.ProgressBar {
	return progressbar.NewOptions(total,
		progressbar.OptionSetWriter(os.Stderr), progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true),
		progressbar.OptionSetWidth(20), progressbar.OptionThrottle(redraw()), progressbar.OptionOnCompletion(func() { fmt.Fprintln(os.Stderr) }))
}

// redraw is how often the progress is shown: often on a terminal, and elsewhere now
// and then.
func redraw() time.Duration {
	if info, err := os.Stderr.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		return 100 * time.Millisecond
	}
	return 20 * time.Second
}
