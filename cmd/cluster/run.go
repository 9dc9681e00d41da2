package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v3"

	"github.com/abhishekg16/cluster"
)

func runCommand(s streams) *cli.Command {
	return &cli.Command{
		Name:      "run",
		Usage:     "be a server that prints what arrives, with a page that shows what it does",
		UsageText: "cluster run CONFIG -id N [--http ADDRESS [--http-public] [--http-host NAME]...] [--json]",
		Description: `It is the server -id, until SIGINT (Ctrl-C) or SIGTERM. What arrives is printed as listen prints
it; what becomes of the links is told on standard error. A changed configuration takes effect at
SIGHUP, and where it has "reload": true by itself; one with faults is told, and the servers stay
as they are.

With --http, or a field "http": "127.0.0.1:9090" in the server's entry, it serves a page there:
all links, rates, queues, drops and refusals, live; with /stats as JSON, /metrics for Prometheus,
/livez and /readyz. The fields "http" of the other entries say where their pages are, from which it
takes the rest of the matrix of links.

There is no password, so an address that others than this machine reach needs --http-public. The
page is answered to requests for that address itself, the addresses and the name of this machine,
and each --http-host.

Examples:
   cluster run Config.json -id 0
   cluster run Config.json -id 0 --http 127.0.0.1:9090
   cluster run Config.json -id 0 --http :9090 --http-public --http-host node0.example.org`,
		Flags: append(serverFlags(),
			&cli.StringFlag{Name: "http", Usage: "serve the page at `ADDRESS`, such as 127.0.0.1:9090; otherwise the entry's field \"http\" says where, if anywhere"},
			&cli.BoolFlag{Name: "http-public", Usage: "let others than this machine reach the page, which has no password"},
			&cli.StringSliceFlag{Name: "http-host", Usage: "answer requests that ask for `NAME`, too"},
			&cli.BoolFlag{Name: "quorum", Usage: "let /readyz fail while the server finds no majority up"},
			&cli.BoolFlag{Name: "quiet", Usage: "tell on standard error only what is wrong"},
			&cli.BoolFlag{Name: "json", Usage: "print each message as a line of JSON"},
		),
		Action: func(ctx context.Context, c *cli.Command) error { return runServer(ctx, c, s) },
	}
}

// runServer is the server, until ctx ends.
func runServer(ctx context.Context, c *cli.Command, s streams) error {
	args, err := arguments(c, "CONFIG")
	if err != nil {
		return err
	}
	id, err := neededID(c)
	if err != nil {
		return err
	}
	cfg, err := configToJoin(c, args[0], id)
	if err != nil {
		return err
	}
	site, err := siteOf(c, cfg, id)
	if err != nil {
		return err
	}
	defer site.close()
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // before anybody can know that it runs
	defer signal.Stop(hangups)
	level := slog.LevelInfo
	if c.Bool("quiet") {
		level = slog.LevelWarn
	}
	cfg.Logger = slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: level}))
	node, err := cluster.NewFromConfig(id, cfg)
	if err != nil {
		return explainJoin(err, id)
	}
	site.serve(node)
	fmt.Fprintf(s.err, "server %d runs%s\n", id, site.told())
	p := printer{out: s.out, write: writeLine}
	if c.Bool("json") {
		p.write = writeJSON
	}
	reloads := make(chan struct{})
	go func() { // The end of hangups ends it, which is waited for below.
		defer close(reloads)
		reloadAt(hangups, node, s.err)
	}()
	err = p.until(ctx, node, site.failed)
	signal.Stop(hangups)
	close(hangups)
	stop(node)
	<-reloads
	for e := range node.Inbox() { // what had arrived by then
		if err == nil {
			err = p.print(e)
		}
	}
	p.account(s.err, node.Stats())
	return err
}

// reloadAt takes the configuration over at each signal.
func reloadAt(signals <-chan os.Signal, node *cluster.Node, log io.Writer) {
	for range signals {
		if err := node.Reload(); err == nil {
			fmt.Fprintf(log, "the configuration was read again: the other servers are %v\n", node.Peers())
		} else if !errors.Is(err, cluster.ErrClosed) {
			fmt.Fprintln(log, reported(err))
		}
	}
}

// until prints what the node receives until ctx ends, or something fails.
func (p *printer) until(ctx context.Context, node *cluster.Node, failed <-chan error) error {
	for {
		select {
		case e, open := <-node.Inbox():
			if !open {
				if err := node.Close(); err != nil {
					return err
				}
				return errors.New("the server has closed")
			}
			if err := p.print(e); err != nil {
				return err
			}
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}
