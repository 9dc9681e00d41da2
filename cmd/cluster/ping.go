package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/abhishekg16/cluster"
)

func pingCommand(s streams) *cli.Command {
	return &cli.Command{
		Name:      "ping",
		Usage:     "find out whether servers hear another and answer it",
		UsageText: "cluster ping CONFIG -id N --to ID[,ID...]|all [--count N] [--wait D] [--interval D] [--deadline D] [--json]",
		Description: joinNote + `

It sends frames without a message that ask for an acknowledgment, and takes the time
until that is here. So an answer means that both servers reach each other, agree on the
cluster's name, on their ids and on their keys, and that the library there is running.
It does not mean that the program there reads its Inbox. That gets no message; but its node hears
the server -id for a moment, and finds it silent and down after that, as its log and Events tell.
The first answer takes longer, for connections are made in both directions.

It ends with 0 if each server has answered each time. With --json it prints the same as one
object when all is done, in which "ms" are milliseconds.

Examples:
   cluster ping Config.json -id 0 --to 1
   cluster ping Config.json -id 0 --to all --count 1
   cluster ping Config.json -id 0 --to 1 --count 1 --deadline 2s --json | jq .answered`,
		Flags: append(serverFlags(),
			toFlag("the `ID`s of the servers to be asked, with commas between them, or all (but observers)"),
			&cli.IntFlag{Name: "count", Aliases: []string{"n"}, Value: 3, Usage: "ask `N` times", Config: decimal},
			&cli.DurationFlag{Name: "interval", Value: 500 * time.Millisecond, Usage: "the pause `D` between an answer and the next question"},
			&cli.DurationFlag{Name: "wait", Value: 3 * time.Second, Usage: "how long `D` each answer may take"},
			&cli.DurationFlag{Name: "deadline", Value: time.Minute, Usage: "how long `D` all of it may take"},
			jsonFlag(),
		),
		Action: func(ctx context.Context, c *cli.Command) error { return ping(ctx, c, s) },
	}
}

// pingPlan is how the servers are asked.
type pingPlan struct {
	count          int
	interval, wait time.Duration
}

func ping(ctx context.Context, c *cli.Command, s streams) error {
	args, err := arguments(c, "CONFIG")
	if err != nil {
		return err
	}
	id, err := neededID(c)
	if err != nil {
		return err
	}
	to, err := destinations(c)
	if err != nil {
		return err
	}
	plan := pingPlan{count: c.Int("count"), interval: c.Duration("interval")}
	switch {
	case slices.Contains(to, id):
		return toItself(c)
	case plan.count < 1:
		return usageError("--count %d: want at least 1", plan.count)
	case plan.interval < 0:
		return usageError("--interval %v: want 0 or more", plan.interval)
	}
	if plan.wait, err = positive(c, "wait"); err != nil {
		return err
	}
	deadline, err := positive(c, "deadline")
	if err != nil {
		return err
	}
	cfg, err := configToJoin(c, args[0], id)
	if err != nil {
		return err
	}
	targets, err := pingTargets(cfg, args[0], id, to)
	if err != nil {
		return err
	}
	ctx, cancel := within(ctx, "deadline", deadline)
	defer cancel()
	p, err := newPinger(cfg, args[0], id, targets)
	if err != nil {
		return err
	}
	defer p.close()
	out := s.out
	if c.Bool("json") {
		out = io.Discard
	}
	report := p.pingAll(ctx, out, plan)
	if c.Bool("json") {
		if err := printJSON(s.out, report); err != nil {
			return err
		}
	}
	return report.verdict(ctx, plan)
}

// pingTargets are the servers with these ids, or all that are no observers but the one with the
// id itself. Each is there once.
func pingTargets(cfg cluster.Config, path string, id int, to []int) ([]peer, error) {
	if err := knownIDs(cfg, path, to); err != nil {
		return nil, err
	}
	var targets []peer
	for _, p := range cfg.Peers {
		if to == nil && (p.ID == id || p.Observer) || to != nil && !slices.Contains(to, p.ID) {
			continue
		}
		if err := reachable(cfg, path, p.ID); err != nil {
			return nil, err
		}
		targets = append(targets, p)
	}
	if len(targets) == 0 {
		return nil, fmt.Errorf("%s: there is no other server than %d", path, id)
	}
	return targets, nil
}

// A pingReport is what has been found out. Its JSON form is that of --json.
type pingReport struct {
	From     int           `json:"from"`
	Asked    int           `json:"asked"`
	Answered int           `json:"answered"`
	Servers  []*pingResult `json:"servers"`
}

type pingResult struct {
	ID        int          `json:"id"`
	Endpoint  string       `json:"endpoint"`
	Encrypted bool         `json:"encrypted"`
	Asked     int          `json:"asked"`
	Answered  int          `json:"answered"`
	Answers   []pingAnswer `json:"answers"`

	times []time.Duration
	last  error // of the questions without an answer
}

// A pingAnswer has either a time or an error.
type pingAnswer struct {
	MS    *float64 `json:"ms,omitempty"`
	Error string   `json:"error,omitempty"`
}

// pingAll asks all servers at the same time, and prints the answers as they come.
func (p *pinger) pingAll(ctx context.Context, out io.Writer, plan pingPlan) *pingReport {
	report := &pingReport{From: p.id}
	lines := &lockedWriter{w: out}
	var all sync.WaitGroup
	for _, t := range p.targets {
		r := &pingResult{ID: t.peer.ID, Endpoint: t.peer.DialEndpoint(), Encrypted: p.security != nil, Answers: []pingAnswer{}}
		report.Servers = append(report.Servers, r)
		prefix := fmt.Sprintf("server %d: ", r.ID)
		say := func(format string, args ...any) { fmt.Fprintf(lines, prefix+format+"\n", args...) }
		say("asking at %s%s", r.Endpoint, encrypted(r.Encrypted))
		all.Go(func() { t.ping(ctx, r, plan, say) }) // ctx bounds it.
	}
	all.Wait()
	for _, r := range report.Servers {
		report.Asked += r.Asked
		report.Answered += r.Answered
	}
	return report
}

// ping asks one server count times.
func (t *target) ping(ctx context.Context, r *pingResult, plan pingPlan, say func(format string, args ...any)) {
	for r.Asked < plan.count && ctx.Err() == nil {
		if r.Asked > 0 {
			select {
			case <-time.After(plan.interval):
			case <-ctx.Done():
				continue
			}
		}
		r.Asked++
		rtt, err := t.ask(ctx, plan.wait)
		if err != nil {
			r.last = err
			r.Answers = append(r.Answers, pingAnswer{Error: err.Error()})
			say("%d: %v", r.Asked, err)
			continue
		}
		note := ""
		if r.Answered == 0 {
			note = ", with the time to connect"
		}
		ms := float64(rtt.Microseconds()) / 1000
		r.Answered++
		r.times = append(r.times, rtt)
		r.Answers = append(r.Answers, pingAnswer{MS: &ms})
		say("%d: answered in %v%s", r.Asked, rtt.Round(time.Microsecond), note)
	}
	say("%s", r.summary())
}

func (r *pingResult) summary() string {
	text := fmt.Sprintf("%d of %d answered", r.Answered, r.Asked)
	if len(r.times) > 1 {
		rest := slices.Sorted(slices.Values(r.times[1:]))
		text += fmt.Sprintf("; after the first: least %v, median %v, most %v", rest[0].Round(time.Microsecond),
			rest[len(rest)/2].Round(time.Microsecond), rest[len(rest)-1].Round(time.Microsecond))
	}
	return text
}

// verdict is an error unless each server has answered each time.
func (r *pingReport) verdict(ctx context.Context, plan pingPlan) error {
	var faults []string
	for _, s := range r.Servers {
		switch {
		case s.Answered == plan.count:
		case s.Asked < plan.count && s.last == nil:
			faults = append(faults, fmt.Sprintf("server %d was asked %d of %d times: %v", s.ID, s.Asked, plan.count, context.Cause(ctx)))
		case s.Answered > 0:
			faults = append(faults, fmt.Sprintf("server %d answered %d of %d times: %v", s.ID, s.Answered, s.Asked, s.last))
		default:
			faults = append(faults, fmt.Sprintf("server %d does not answer: %v", s.ID, s.last))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return errors.New(strings.Join(faults, "\ncluster: "))
}

// A lockedWriter lets several goroutines print whole lines.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
