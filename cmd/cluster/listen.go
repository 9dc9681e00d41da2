package main

import (
	"context"
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
are refused, and counted at the end. What a program has sent by Call has "request" before its type; there
is nobody here to reply, and the caller is told so. It goes on until Ctrl-C, --count messages or --timeout;
with --count it ends with 1 or 130 if that came before. What the server had received beyond
--count is gone, for the protocol knows no giving back: how much that was is told at the end.

With --json a line is an object with "from", "id" (a string), "type" and "value", and with "request": true
if it is one. What JSON cannot hold is text, and "encoding" says which: "base64" for []byte and for strings that are
not UTF-8, "go" for other values, as they stand in a Go program.

Examples:
   cluster listen Config.json -id 1
   cluster listen Config.json -id 1 --count 1 --timeout 5s --json | jq -r .value`,
		Flags: joinFlags(
			&cli.IntFlag{Name: "count", Aliases: []string{"n"}, HideDefault: true, Usage: "end after `N` messages", Config: decimal},
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
	if c.IsSet("timeout") {
		timeout, err := positive(c, "timeout")
		if err != nil {
			return err
		}
		var cancel context.CancelFunc
		ctx, cancel = within(ctx, "timeout", timeout)
		defer cancel()
	}
	cfg, err := configToJoin(c, args[0], id)
	if err != nil {
		return err
	}
	if count > 0 { // hold little that will not be printed
		cfg.InboxSize = min(count, max(1, cfg.InboxSize))
	}
	node, err := join(c, cfg, id, s.err, slog.LevelWarn)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.err, "server %d listens\n", id)
	p := printer{out: s.out, write: writeLine, count: count}
	if c.Bool("json") {
		p.write = writeJSON
	}
	err = p.follow(ctx, node)
	stop(node)
	for e := range node.Inbox() { // what had arrived by then
		if err == nil {
			err = p.print(e)
		}
	}
	p.account(s.err, node.Stats())
	if err == nil && p.printed < count {
		err = fmt.Errorf("%d of %d messages came: %w", p.printed, count, context.Cause(ctx))
	}
	return err
}

// stop closes a node that sends no messages.
func stop(node *cluster.Node) {
	ctx, cancel := context.WithTimeout(context.Background(), grace/2)
	defer cancel()
	node.Shutdown(ctx) // nothing could be dropped but what tells callers that nobody replies
}

// A printer prints messages, up to a count.
type printer struct {
	out     io.Writer
	write   func(io.Writer, *cluster.Envelope) error
	count   int // 0: no end
	printed int
	left    int // came, and were more than count
}

// follow prints what the node receives until ctx ends or enough has come.
func (p *printer) follow(ctx context.Context, node *cluster.Node) error {
	for p.count == 0 || p.printed < p.count {
		select {
		case e, open := <-node.Inbox():
			if !open {
				return errors.New("the server has closed")
			}
			if err := p.print(e); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

func (p *printer) print(e *cluster.Envelope) error {
	if p.count > 0 && p.printed == p.count {
		p.left++
		return nil
	}
	p.printed++
	if r, ok := e.Msg.(*cluster.Request); ok {
		decline(r)
	}
	return p.write(p.out, e)
}

// errNobodyReplies is what callers are told.
var errNobodyReplies = errors.New("nobody replies here: the command cluster only prints what arrives")

// decline tells who has sent a request that there will be no reply. Where that cannot be sent, the caller waits for as long as it likes.
func decline(r *cluster.Request) {
	ctx, cancel := context.WithTimeout(context.Background(), grace/4)
	defer cancel()
	r.Fail(ctx, errNobodyReplies)
}

// content is what an envelope brings, and whether that is a request.
func content(e *cluster.Envelope) (msg any, request bool) {
	if r, ok := e.Msg.(*cluster.Request); ok {
		return r.Msg, true
	}
	return e.Msg, false
}

// account tells what was received and not printed.
func (p *printer) account(w io.Writer, st cluster.Stats) {
	if n := uint64(p.left) + st.Received.Refused[cluster.RefusedClosed]; n > 0 {
		fmt.Fprintf(w, "%s more had arrived here, and nobody gets them now: their senders count them as sent\n", messages(n))
	}
	delete(st.Received.Refused, cluster.RefusedClosed)
	if len(st.Received.Refused) > 0 || st.Received.Lost > 0 {
		fmt.Fprint(w, "not everything could be printed:\n", st)
	}
}

// writeLine prints a message on one line, whatever is in it.
func writeLine(w io.Writer, e *cluster.Envelope) error {
	msg, request := content(e)
	kind := typeName(msg)
	if request {
		kind = "request " + kind
	}
	_, err := fmt.Fprintln(w, e.Pid, e.MsgId, kind, text(msg))
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
