//go:build linux

// Command faults breaks real clusters, and holds what becomes of their messages against
// what the library promises. See README.md.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/abhishekg16/cluster/internal/transport/sockets"
)

// serverRole, as the first argument, makes the process a server.
const serverRole = "server"

func main() {
	if played(os.Args[1:]) {
		return
	}
	err := run(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errFailed):
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(2)
	}
}

// played does what a process does that the driver starts, and reports whether this is one.
func played(arguments []string) bool {
	if len(arguments) == 0 {
		return false
	}
	var err error
	switch arguments[0] {
	case serverRole:
		err = serve(arguments[1:])
	case churnRole:
		var cycles int
		if cycles, err = strconv.Atoi(arguments[2]); err == nil {
			err = churnHere(arguments[1], cycles, arguments[3])
		}
	default:
		return false
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "faults: %s: %v\n", arguments[0], err)
		os.Exit(1)
	}
	return true
}

// errFailed is what a campaign ends with in which a row failed, which was told already.
var errFailed = errors.New("a row failed")

// options are what a campaign is to do.
type options struct {
	quick       bool
	long        bool
	only        []string
	seed        uint64
	limit       time.Duration
	dir         string
	exe         string   // of the servers
	environment []string // likewise
	transport   string   // one of transports
	command     string
	write       string // the document to renew
	report      func(line string)
}

func run(arguments []string) error {
	flags := flag.NewFlagSet("faults", flag.ContinueOnError)
	quick := flags.Bool("quick", false, "the rows of the quick campaign, each for a shorter time")
	long := flags.Bool("long", false, "give the rows with restarts, and those with Deliver, five minutes each")
	only := flags.String("only", "", "only these rows, separated by commas")
	list := flags.Bool("list", false, "list the rows, and what they need")
	seed := flags.Uint64("seed", 0, "what chance is drawn from; 0 draws one")
	minutes := flags.Float64("minutes", 19, "begin no row after this, and end the soak then")
	transport := flags.String("transport", sockets.Libzmq, "what the servers have: libzmq, go, or mixed, by which each has another than the one that started before it")
	dir := flags.String("dir", "", "where the servers keep their journals while a row runs (default: the system's place)")
	write := flags.String("write", "", "the document to renew")
	mutants := flags.Bool("mutants", false, "break the library, one rule at a time, and see that the campaign notices")
	command := flags.String("command", "", "how the document names the command that made it")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected arguments: %q", flags.Args())
	}
	if err := checkTransport(*transport); err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	o := options{
		quick: *quick, long: *long, seed: *seed, limit: time.Duration(*minutes * float64(time.Minute)), dir: *dir, exe: exe,
		write: *write, transport: *transport,
		command: cmp.Or(*command, strings.Join(append([]string{"go run ."}, arguments...), " ")),
		report:  func(line string) { fmt.Println(line) },
	}
	if o.seed == 0 {
		o.seed = uint64(rand.Uint32())
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	chosen, err := choose(o)
	if err != nil {
		return err
	}
	if *list {
		for _, r := range chosen {
			fmt.Printf("%-16s %s\n", r.name, r.fault)
			if missing := r.missing(); missing != "" {
				fmt.Printf("%-16s skipped here: %s\n", "", missing)
			}
		}
		return nil
	}
	if needRoot.check() == nil { // others cannot have left anything, nor remove it
		removed, err := sweep()
		if len(removed) > 0 {
			o.report(fmt.Sprintf("left by a driver that was killed, and removed: %s", strings.Join(removed, ", ")))
		}
		if err != nil {
			o.report(err.Error())
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if *mutants {
		return mutate(ctx, o)
	}
	c := carryOut(ctx, chosen, o)
	fmt.Printf("\n%s", c.table())
	if o.write != "" && ctx.Err() == nil {
		if err := c.write(o.write); err != nil {
			return err
		}
	}
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted")
	case c.failed():
		fmt.Printf("\n%s", c.advice())
		return errFailed
	}
	return nil
}

// choose are the rows that the options ask for, in the order of the campaign.
func choose(o options) (chosen []row, err error) {
	for _, name := range o.only {
		if !slices.ContainsFunc(rows, func(r row) bool { return r.name == name }) {
			return nil, fmt.Errorf("there is no row %q; -list lists them", name)
		}
	}
	for _, r := range rows {
		if len(o.only) > 0 && !slices.Contains(o.only, r.name) || len(o.only) == 0 && o.quick && !r.quick {
			continue
		}
		chosen = append(chosen, r)
	}
	slices.SortStableFunc(chosen, func(a, b row) int {
		return cmp.Or(cmp.Compare(btoi(a.last), btoi(b.last)), cmp.Compare(a.name, b.name))
	})
	return chosen, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// missing says what the machine lacks for the row.
func (r *row) missing() string {
	var what []string
	for _, n := range r.needs {
		if err := n.check(); err != nil {
			what = append(what, fmt.Sprintf("it needs %s: %v", n.what, err))
		}
	}
	return strings.Join(what, "; ")
}
