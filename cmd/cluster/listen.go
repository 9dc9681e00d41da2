package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/abhishekg16/cluster"
)

func listenCommand(s streams) *cli.Command {
	return &cli.Command{
		Name:      "listen",
		Usage:     "print what arrives for a server",
		UsageText: "cluster listen CONFIG -id N [--count N] [--timeout D] [--json]",
		Description: joinNote + `

Each message is a line: the sender's id, the message's id, the type, the value. Text is
quoted. Types that programs have registered themselves are not known here: such messages
are refused, and counted at the end. It ends at Ctrl-C, after --count messages, or after
--timeout; with 1 if that was before --count messages had come.

Examples:
   cluster listen Config.json -id 1
   cluster listen Config.json -id 1 --count 1 --timeout 5s --json`,
		Flags: joinFlags(
			&cli.IntFlag{Name: "count", Aliases: []string{"n"}, HideDefault: true, Usage: "end after `N` messages"},
			&cli.DurationFlag{Name: "timeout", HideDefault: true, Usage: "end after `D`, such as 10s"},
			&cli.BoolFlag{Name: "json", Usage: "print each message as a line of JSON"},
		),
		Action: func(ctx context.Context, c *cli.Command) error { return listen(ctx, c, s) },
	}
}

func listen(ctx context.Context, c *cli.Command, s streams) error {
	args, err := arguments(c, "CONFIG")
	if err != nil {
		return err
	}
	id, err := neededID(c)
	if err != nil {
		return err
	}
	count := c.Int("count")
	if c.IsSet("count") && count < 1 {
		return usageError("--count %d: want at least 1", count)
	}
	if timeout := c.Duration("timeout"); c.IsSet("timeout") {
		if timeout <= 0 {
			return usageError("--timeout %v: want more than 0", timeout)
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	node, err := join(c, args[0], id, s.err, slog.LevelWarn)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.err, "server %d listens\n", id)
	write := writeLine
	if c.Bool("json") {
		write = writeJSON
	}
	print := func(e *cluster.Envelope) error { return write(s.out, e) }
	got, err := printArriving(ctx, node, count, print)
	err = errors.Join(err, node.Close())
	for e := range node.Inbox() { // what had arrived by then
		if err == nil && (count == 0 || got < count) {
			err = print(e)
			got++
		}
	}
	if st := node.Stats(); len(st.Received.Refused) > 0 || st.Received.Lost > 0 {
		fmt.Fprint(s.err, "not everything could be printed:\n", st)
	}
	if err == nil && got < count {
		err = fmt.Errorf("%d of %d messages came", got, count)
	}
	return err
}

// printArriving prints what the node receives until ctx ends or count messages have
// come, if count is not 0.
func printArriving(ctx context.Context, node *cluster.Node, count int, print func(*cluster.Envelope) error) (got int, err error) {
	for {
		select {
		case e, open := <-node.Inbox():
			if !open {
				return got, errors.New("the server has closed")
			}
			if err := print(e); err != nil {
				return got, err
			}
			if got++; got == count {
				return got, nil
			}
		case <-ctx.Done():
			return got, nil
		}
	}
}

// writeLine prints a message on one line, whatever is in it.
func writeLine(w io.Writer, e *cluster.Envelope) error {
	_, err := fmt.Fprintln(w, e.Pid, e.MsgId, typeName(e.Msg), text(e.Msg))
	return err
}

// typeName names the type of a value as people write it.
func typeName(v any) string {
	switch v.(type) {
	case nil:
		return "nil"
	case []byte:
		return "[]byte"
	}
	return fmt.Sprintf("%T", v)
}

// text is a value on one line.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return "nil"
	case bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float32, float64:
		return fmt.Sprint(v)
	case string, []byte:
		return fmt.Sprintf("%q", v)
	case time.Time:
		return v.Format(time.RFC3339Nano)
	}
	return fmt.Sprintf("%#v", v)
}

// A line is a message as JSON. The id is a string, since many readers of JSON do not
// keep integers of its size.
type line struct {
	From  int    `json:"from"`
	ID    string `json:"id"`
	Type  string `json:"type"`
	Value any    `json:"value"`
}

// writeJSON prints a message as a line of JSON. What JSON has no way to say (NaN, maps
// with other keys than strings and integers) is given as text.
func writeJSON(w io.Writer, e *cluster.Envelope) error {
	l := line{e.Pid, fmt.Sprint(e.MsgId), typeName(e.Msg), e.Msg}
	b, err := json.Marshal(l)
	if err != nil {
		l.Value = text(e.Msg)
		if b, err = json.Marshal(l); err != nil {
			return err
		}
	}
	_, err = w.Write(append(b, '\n'))
	return err
}
