package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v3"

	"github.com/abhishekg16/cluster"
)

// serverFlags say which server a command takes the place of.
func serverFlags() []cli.Flag {
	return []cli.Flag{idFlag("be the server `N` of the configuration, which must not be running"), keyFileFlag()}
}

// joinFlags are those of the commands that run a whole server.
func joinFlags(more ...cli.Flag) []cli.Flag {
	return append(append(serverFlags(),
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "tell on standard error what becomes of the links"},
	), more...)
}

const joinNote = `It joins the cluster as the server -id, in that server's place: the server itself must
not be running, and what the others send to it meanwhile comes here. A configuration
with one entry more than there are servers has an id to spare for this.`

// join starts the server that the flags name.
func join(c *cli.Command, path string, id int, log io.Writer, level slog.Level) (*cluster.Node, error) {
	cfg, err := configToJoin(c, path, id)
	if err != nil {
		return nil, err
	}
	if c.Bool("verbose") {
		level = slog.LevelDebug
	}
	cfg.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: level}))
	node, err := cluster.NewFromConfig(id, cfg)
	return node, explainJoin(err, id)
}

// configToJoin loads the configuration for one of its servers.
func configToJoin(c *cli.Command, path string, id int) (cluster.Config, error) {
	cfg, err := cluster.LoadConfig(path)
	if err != nil {
		return cfg, err
	}
	cfg.KeyFile = c.String("key-file")
	if i := slices.IndexFunc(cfg.Peers, hasID(id)); i >= 0 && strings.HasPrefix(cfg.Peers[i].DialEndpoint(), "mem://") {
		return cfg, fmt.Errorf("%s: server %d has the address %s, which is inside one process: from here nothing reaches it", path, id, cfg.Peers[i].Address)
	}
	return cfg, nil
}

// explainJoin adds what a failure to join most likely means.
func explainJoin(err error, id int) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w\nIf server %d itself is running there: this command takes a server's place, so it needs the id of one that is not running", err, id)
	}
	return err
}
