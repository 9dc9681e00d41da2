package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/abhishekg16/cluster"
)

func sendCommand(s streams) *cli.Command {
	return &cli.Command{
		Name:      "send",
		Usage:     "send text to servers",
		UsageText: "cluster send CONFIG -id N --to ID[,ID...]|all TEXT|-",
		Description: joinNote + `

TEXT arrives as a Go string; with - each line of standard input does. It ends with 0 when
all is written to the servers that it is for, and with 1 if something was dropped, which
happens to what a server has not taken within sendTimeout. Written does not mean that the
program there has read it: the protocol does not tell.

Examples:
   cluster send Config.json -id 0 --to 1 "hello"
   cluster send Config.json -id 0 --to all "hello, everybody"
   seq 1000 | cluster send Config.json -id 0 --to 1,2 -`,
		Flags: joinFlags(
			&cli.StringFlag{Name: "to", Usage: "the `ID`s of the servers it is for, with commas between them, or all"},
			&cli.DurationFlag{Name: "timeout", Value: time.Minute, Usage: "give up after `D`; with - after the last line"},
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
	if !c.IsSet("to") {
		return usageError("--to is missing: the id of a server, several with commas between them, or all")
	}
	to, err := destinations(c.String("to"))
	if err != nil {
		return err
	}
	timeout := c.Duration("timeout")
	if timeout <= 0 {
		return usageError("--timeout %v: want more than 0", timeout)
	}
	node, err := join(c, args[0], id, s.err, slog.LevelError)
	if err != nil {
		return err
	}
	address := cluster.BROADCAST
	if to != nil {
		if address, err = node.Group(to...); err != nil {
			err = fmt.Errorf("%s: --to %s: not all of these have an entry: the ids are %v", args[0], c.String("to"), node.Catalog().IDs())
		}
	}
	var in io.Reader = strings.NewReader(args[1])
	if args[1] == "-" {
		in = s.in
	}
	if err == nil {
		err = sendAll(ctx, node, address, in, args[1] == "-", timeout)
	}
	closing, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err = errors.Join(err, node.Shutdown(closing))
	return errors.Join(err, account(s, node.Stats()))
}

// destinations reads the flag --to. No ids at all means all servers.
func destinations(flag string) (ids []int, err error) {
	if flag == "all" {
		return nil, nil
	}
	for field := range strings.SplitSeq(flag, ",") {
		id, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || id < 0 {
			return nil, usageError("--to %q: want the id of a server, several with commas between them, or all", flag)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// sendAll sends all of in as one message, or its lines as one each. What is dropped is
// in the node's Stats; other errors end it.
func sendAll(ctx context.Context, node *cluster.Node, to int, in io.Reader, lines bool, timeout time.Duration) error {
	put := func(msg string) error {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		err := node.Send(ctx, &cluster.Envelope{Pid: to, Msg: msg})
		if errors.Is(err, cluster.ErrUnreachable) || errors.Is(err, cluster.ErrTimedOut) || errors.Is(err, cluster.ErrTooLarge) {
			return nil
		}
		return err
	}
	if !lines {
		msg, err := io.ReadAll(in)
		return errors.Join(err, put(string(msg)))
	}
	for r := bufio.NewReader(in); ; {
		line, err := r.ReadString('\n')
		if end := errors.Is(err, io.EOF); end && line == "" {
			return nil
		} else if err != nil && !end {
			return err
		}
		if err := put(strings.TrimRight(line, "\r\n")); err != nil {
			return err
		}
	}
}

// account tells what became of the messages, and returns an error if some were dropped.
func account(s streams, st cluster.Stats) error {
	for _, p := range st.Peers {
		if p.Sent.Sent > 0 {
			fmt.Fprintf(s.out, "server %d: %s written%s\n", p.ID, messages(p.Sent.Sent), encrypted(p.Encrypted))
		}
	}
	dropped := st.Sent.DroppedTotal()
	if dropped == 0 {
		return nil
	}
	row := func(who string, b cluster.SentStats) {
		for _, r := range []cluster.Reason{cluster.ReasonUnknownPeer, cluster.ReasonUnreachable, cluster.ReasonTimedOut,
			cluster.ReasonTooLarge, cluster.ReasonNotEncodable, cluster.ReasonClosed} {
			if n := b.Dropped[r]; n > 0 {
				fmt.Fprintf(s.err, "%s: %s dropped: %v\n", who, messages(n), r)
			}
		}
	}
	for _, p := range st.Peers {
		row(fmt.Sprint("server ", p.ID), p.Sent)
	}
	row("no server", st.Unaddressed)
	return fmt.Errorf("%s dropped", messages(dropped))
}

func messages(n uint64) string {
	if n == 1 {
		return "1 message"
	}
	return fmt.Sprintf("%d messages", n)
}

func encrypted(yes bool) string {
	if yes {
		return " (encrypted)"
	}
	return ""
}
