package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/abhishekg16/cluster"
)

func sendCommand(s streams) *cli.Command {
	return &cli.Command{
		Name:      "send",
		Usage:     "send text to servers",
		UsageText: "cluster send CONFIG -id N --to ID[,ID...]|all [--timeout D] [--json] TEXT|-",
		Description: joinNote + `

TEXT arrives as a Go string; with - each line of standard input does. (Text that begins
with a dash comes behind two dashes: -- -5.) It ends with 0 when all is written to the
servers that it is for, and they have acknowledged it; and with 1 if something was dropped, which
happens to what a server has not taken within sendTimeout, or was written and nobody knows whether it
arrived, since the server has not acknowledged it, or has started anew meanwhile. Acknowledged does
not mean that the program there has done anything with it.

Examples:
   cluster send Config.json -id 0 --to 1 "hello"
   cluster send Config.json -id 0 --to all "hello, everybody"
   seq 1000 | cluster send Config.json -id 0 --to 1,2 -`,
		Flags: joinFlags(
			toFlag("the `ID`s of the servers it is for, with commas between them, or all (but observers)"),
			&cli.DurationFlag{Name: "timeout", Value: time.Minute, Usage: "give up after `D`; with - after the last line"},
			jsonFlag(),
		),
		Action: func(ctx context.Context, c *cli.Command) error { return send(ctx, c, s) },
	}
}

func send(ctx context.Context, c *cli.Command, s streams) error {
	args, err := arguments(c, "CONFIG", "TEXT")
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
	if slices.Contains(to, id) {
		return toItself(c)
	}
	timeout, err := positive(c, "timeout")
	if err != nil {
		return err
	}
	cfg, err := configToJoin(c, args[0], id)
	if err != nil {
		return err
	}
	if err := knownIDs(cfg, args[0], to); err != nil {
		return err
	}
	node, err := join(c, cfg, id, s.err, slog.LevelError)
	if err != nil {
		return err
	}
	address := cluster.BROADCAST
	if to != nil {
		address, err = node.Group(to...)
	}
	out := sender{node: node, to: address, timeout: timeout}
	switch {
	case err != nil:
	case args[1] == "-":
		err = out.lines(ctx, s.in, messageLimit(cfg))
	default:
		err = out.put(ctx, args[1])
	}
	closing, cancel := within(ctx, "timeout", timeout)
	defer cancel()
	acknowledged(closing, node)
	before := node.Stats()
	if e := because(closing, node.Shutdown(closing)); err == nil {
		err = e
	}
	return errors.Join(err, account(s, newSendReport(node.Stats(), before), c.Bool("json")))
}

// acknowledged waits until the servers have acknowledged what was written, or are down.
func acknowledged(ctx context.Context, node *cluster.Node) {
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		waits := slices.ContainsFunc(node.Stats().Peers, func(p cluster.PeerStats) bool {
			return p.Sent.Queued > 0 || p.Sent.FlightBytes > 0 && p.State != cluster.LinkDown && p.State != cluster.LinkStalled
		})
		if !waits {
			return
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// messageLimit is the largest message of the configuration.
func messageLimit(cfg cluster.Config) int {
	if cfg.MaxMessageBytes > 0 {
		return cfg.MaxMessageBytes
	}
	return 64 << 20
}

// A sender sends messages to one address.
type sender struct {
	node    *cluster.Node
	to      int
	timeout time.Duration // of each
}

// lines sends each line of in.
func (s sender) lines(ctx context.Context, in io.Reader, longest int) error {
	r := readLines(ctx, in, longest)
	for n := 1; ; n++ {
		line, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = s.put(ctx, line)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
}

// put sends one message. That it is dropped is in the node's Stats, and no error.
func (s sender) put(ctx context.Context, msg string) error {
	ctx, cancel := within(ctx, "timeout", s.timeout)
	defer cancel()
	err := s.node.Send(ctx, &cluster.Envelope{Pid: s.to, Msg: msg})
	if ctx.Err() == nil && (errors.Is(err, cluster.ErrUnreachable) || errors.Is(err, cluster.ErrTimedOut) || errors.Is(err, cluster.ErrTooLarge)) {
		return nil
	}
	return because(ctx, err)
}

// A sendReport is what has become of the messages. Its JSON form is that of --json.
type sendReport struct {
	Servers []sendRow `json:"servers"`
	// Unaddressed are messages that did not get as far as a server, by the reason.
	Unaddressed map[string]uint64 `json:"unaddressed,omitempty"`
	Written     uint64            `json:"written"`
	Dropped     uint64            `json:"dropped"`
	// Unacknowledged are those of Written of which nobody knows whether they arrived.
	Unacknowledged uint64 `json:"unacknowledged,omitempty"`
}

type sendRow struct {
	ID        int               `json:"id"`
	Written   uint64            `json:"written"`
	Encrypted bool              `json:"encrypted"`
	Dropped   map[string]uint64 `json:"dropped,omitempty"` // by the reason
	// Unacknowledged is how many of Written the server had not acknowledged in its time, and Trouble why, as far as that is known.
	Unacknowledged uint64 `json:"unacknowledged,omitempty"`
	Trouble        string `json:"trouble,omitempty"`
}

// newSendReport tells what has become of the messages at the end, and of those that were on their way before the node closed.
func newSendReport(st, before cluster.Stats) sendReport {
	r := sendReport{Servers: []sendRow{}, Unaddressed: byName(st.Unaddressed.Dropped), Written: st.Sent.Sent, Dropped: st.Sent.DroppedTotal()}
	for _, p := range st.Peers {
		row := sendRow{ID: p.ID, Written: p.Sent.Sent, Encrypted: p.Encrypted, Dropped: byName(p.Sent.Dropped)}
		for _, b := range before.Peers {
			if b.ID != p.ID {
				continue
			}
			if n, why := inDoubt(b); n > 0 {
				row.Unacknowledged, row.Trouble = n, why
				r.Unacknowledged += n
			}
		}
		if row.Written > 0 || len(row.Dropped) > 0 {
			r.Servers = append(r.Servers, row)
		}
	}
	return r
}

// inDoubt is how many of the messages that were written to a server may not have arrived, and why, as far as that is known. A server
// of an earlier version confirms nothing: what it has acknowledged has arrived as far as anybody knows.
func inDoubt(p cluster.PeerStats) (messages uint64, why string) {
	restarted := p.Received.Restarts > 0
	switch {
	case p.Sent.FlightBytes > 0:
		messages = p.Sent.Sent - p.Sent.Confirmed
	case restarted, p.Sent.Confirmed > 0, p.State == cluster.LinkDown:
		messages = p.Sent.Unconfirmed
	}
	switch why = p.Trouble; {
	case why != "":
	case restarted:
		why = "it has started anew meanwhile"
	case p.Sent.FlightBytes == 0:
		why = "it has started anew, or its link was down for a while"
	}
	return messages, why
}

func byName(dropped map[cluster.Reason]uint64) map[string]uint64 {
	names := make(map[string]uint64)
	for reason, n := range dropped {
		if n > 0 {
			names[reason.String()] = n
		}
	}
	return names
}

// account tells what became of the messages, and returns an error if some were dropped, or not acknowledged.
func account(s streams, r sendReport, asJSON bool) error {
	if asJSON {
		if err := printJSON(s.out, r); err != nil {
			return err
		}
	} else {
		r.print(s)
	}
	var dropped, lacking error
	if r.Dropped > 0 {
		dropped = fmt.Errorf("%s dropped", messages(r.Dropped))
	}
	if r.Unacknowledged > 0 {
		lacking = fmt.Errorf("%s not acknowledged", messages(r.Unacknowledged))
	}
	return errors.Join(dropped, lacking)
}

func (r sendReport) print(s streams) {
	for _, row := range r.Servers {
		if row.Written > 0 {
			fmt.Fprintf(s.out, "server %d: %s written%s\n", row.ID, messages(row.Written), encrypted(row.Encrypted))
		}
	}
	for _, row := range r.Servers {
		printDropped(s.err, fmt.Sprint("server ", row.ID), row.Dropped)
		if row.Unacknowledged > 0 {
			why := ""
			if row.Trouble != "" {
				why = ": " + plain(row.Trouble)
			}
			fmt.Fprintf(s.err, "server %d: %s not acknowledged%s\n", row.ID, messages(row.Unacknowledged), why)
		}
	}
	printDropped(s.err, "no server", r.Unaddressed)
	if r.Written+r.Dropped == 0 {
		fmt.Fprintln(s.err, "no message was sent")
	}
}

func printDropped(w io.Writer, who string, dropped map[string]uint64) {
	for _, reason := range sortedKeys(dropped) {
		fmt.Fprintf(w, "%s: %s dropped: %s\n", who, messages(dropped[reason]), reason)
	}
}

func messages(n uint64) string {
	return fmt.Sprintf("%d %s", n, plural(int(min(n, 2)), "message", "messages"))
}

func encrypted(yes bool) string {
	if yes {
		return " (encrypted)"
	}
	return ""
}
