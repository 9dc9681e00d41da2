package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/urfave/cli/v3"
)

func topCommand(s streams) *cli.Command {
	return &cli.Command{
		Name:      "top",
		Usage:     "show what running servers do, by their pages",
		UsageText: "cluster top URL... | CONFIG [--interval D] [--once [--json]]",
		Description: `Shows each server whose page is at one of the URLs, and all their links, and renews that until q
or Ctrl-C is pressed. The pages are those of cluster run --http, or of a program that serves
package observe. A configuration stands for the pages that its entries name, as in
"http": "127.0.0.1:9090".

Arrows, PgUp, PgDn, Home and End move through what does not fit; links that are not up come first.

With --once it prints the same once, without rates, and ends: with 0 if all servers have answered, and
with 1 otherwise. With --once --json it prints an array with an object for each URL, which has "report",
what the page's /stats says, or "error".

Examples:
   cluster top http://127.0.0.1:9090
   cluster top Config.json
   cluster top Config.json --once --json | jq '.[].report.stats.Peers[] | select(.State != "up")'`,
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "interval", Value: time.Second, Usage: "ask the servers each `D`"},
			&cli.DurationFlag{Name: "wait", Value: 2 * time.Second, Usage: "how long `D` a server may take to answer"},
			&cli.BoolFlag{Name: "once", Usage: "print it once, and end"},
			&cli.BoolFlag{Name: "json", Usage: "with --once: print JSON"},
		},
		Action: func(ctx context.Context, c *cli.Command) error { return top(ctx, c, s) },
	}
}

func top(ctx context.Context, c *cli.Command, s streams) error {
	if !c.Args().Present() {
		return usageError("URL or CONFIG is missing: see %s --help", c.FullName())
	}
	interval, err := positive(c, "interval")
	if err != nil {
		return err
	}
	wait, err := positive(c, "wait")
	if err != nil {
		return err
	}
	if c.Bool("json") && !c.Bool("once") {
		return usageError("--json needs --once")
	}
	pages, err := pagesOf(c.Args().Slice())
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: wait, Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
	defer client.CloseIdleConnections()
	if c.Bool("once") {
		return topOnce(ctx, client, pages, s.out, c.Bool("json"))
	}
	screen, in := terminalOf(s.out), terminalOf(s.in)
	if screen == nil || in == nil {
		return usageError("standard input and output are not a terminal: --once prints it once")
	}
	return topLive(ctx, in, screen, &topModel{ctx: ctx, client: client, pages: pages, interval: interval})
}

// terminalOf is the terminal that a stream of the command is, or nil.
func terminalOf(stream any) *os.File {
	if checked, ok := stream.(*checkedWriter); ok {
		stream = checked.w
	}
	f, ok := stream.(*os.File)
	if !ok || !term.IsTerminal(f.Fd()) {
		return nil
	}
	return f
}

// topOnce prints what the servers do.
func topOnce(ctx context.Context, client *http.Client, pages []string, out io.Writer, asJSON bool) error {
	all := watch(ctx, client, pages)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if asJSON {
		if err := printJSON(out, all); err != nil {
			return err
		}
	} else {
		for _, line := range topLines(nil, all, false) {
			if _, err := fmt.Fprintln(out, line); err != nil {
				return err
			}
		}
	}
	if n := len(slices.DeleteFunc(slices.Clone(all), func(w watched) bool { return w.Report != nil })); n > 0 {
		return fmt.Errorf("%d of %d servers did not answer as they should", n, len(all))
	}
	return nil
}
