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
not be running, and what the others send to it meanwhile comes here. An entry with
"observer": true is meant for this: such a server counts in no majority.`

// join starts the server id of a configuration that configToJoin has returned.
func join(c *cli.Command, cfg cluster.Config, id int, log io.Writer, level slog.Level) (*cluster.Node, error) {
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
	if err := knownIDs(cfg, path, []int{id}); err != nil {
		return cfg, err
	}
	return cfg, reachable(cfg, path, id)
}

// knownIDs checks that the configuration has entries of these ids.
func knownIDs(cfg cluster.Config, path string, ids []int) error {
	for _, id := range ids {
		if !slices.ContainsFunc(cfg.Peers, hasID(id)) {
			return noEntry(cfg, path, id)
		}
	}
	return nil
}

// noEntry says that a configuration has no server id, and which it has.
func noEntry(cfg cluster.Config, path string, id int) error {
	var ids []int
	for _, p := range cfg.Peers {
		ids = append(ids, p.ID)
	}
	slices.Sort(ids)
	return fmt.Errorf("%s: no entry has the id %d; the ids are %v", path, id, ids)
}

// reachable checks that a server is not inside one process, where no command gets.
func reachable(cfg cluster.Config, path string, id int) error {
	i := slices.IndexFunc(cfg.Peers, hasID(id))
	if strings.HasPrefix(cfg.Peers[i].DialEndpoint(), "mem://") {
		return fmt.Errorf("%s: server %d has the address %s, which is inside one process: from here nothing reaches it", path, id, cfg.Peers[i].Address)
	}
	return nil
}

// explainJoin adds what a failure to join most likely means.
func explainJoin(err error, id int) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w\nIf server %d itself is running there: this command takes a server's place, so it needs the id of one that is not running", err, id)
	}
	return err
}
