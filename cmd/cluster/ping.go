package main

import (
	"context"
	"errors"
	"time"

	"github.com/urfave/cli/v3"
)

func pingCommand(s streams) *cli.Command {
	return &cli.Command{
		Name:      "ping",
		Usage:     "find out whether a server hears another and answers it",
		UsageText: "cluster ping CONFIG -id N --to ID [--count N] [--wait D] [--interval D] [--deadline D]",
		Description: joinNote + `

It sends frames without a message that ask for an acknowledgment, and takes the time
until that is here. So an answer means that both servers reach each other, agree on the
cluster's name, on their ids and on their keys, and that the library there is running.
It does not mean that the program there reads its Inbox; nor does that program notice.
The first answer takes longer, for connections are made in both directions.

It ends with 0 if each was answered.

Examples:
   cluster ping Config.json -id 0 --to 1
   cluster ping Config.json -id 0 --to 1 --count 1 --deadline 2s`,
		Flags: append(serverFlags(),
			&cli.IntFlag{Name: "to", Value: noID, HideDefault: true, Usage: "the `ID` of the server to be asked"},
			&cli.IntFlag{Name: "count", Aliases: []string{"n"}, Value: 3, Usage: "ask `N` times"},
			&cli.DurationFlag{Name: "interval", Value: 500 * time.Millisecond, Usage: "the pause `D` between an answer and the next question"},
			&cli.DurationFlag{Name: "wait", Value: 3 * time.Second, Usage: "how long `D` each answer may take"},
			&cli.DurationFlag{Name: "deadline", Value: time.Minute, Usage: "how long `D` all of it may take"},
		),
		Action: func(ctx context.Context, c *cli.Command) error { return ping(ctx, c, s) },
	}
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
	to, count := c.Int("to"), c.Int("count")
	switch {
	case !c.IsSet("to"):
		return usageError("--to is missing: which server is to be asked?")
	case to == id:
		return usageError("--to %d is -id itself: want another server", to)
	case count < 1:
		return usageError("--count %d: want at least 1", count)
	}
	for _, name := range []string{"wait", "deadline"} {
		if d := c.Duration(name); d <= 0 {
			return usageError("--%s %v: want more than 0", name, d)
		}
	}
	cfg, err := configToJoin(c, args[0], id)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.Duration("deadline"), errors.New("the deadline has passed"))
	defer cancel()
	p, err := newPinger(cfg, args[0], id, to)
	if err != nil {
		return err
	}
	defer p.close()
	return p.ping(ctx, s.out, count, c.Duration("interval"), c.Duration("wait"))
}
