package main

import (
	"github.com/urfave/cli/v3"

	"github.com/abhishekg16/cluster/internal/keyfile"
	"github.com/abhishekg16/cluster/peercatalog"
)

// noID is the value of the flag -id that was not given.
const noID = -1

func idFlag(usage string) cli.Flag {
	return &cli.IntFlag{Name: "id", Value: noID, HideDefault: true, Usage: usage}
}

func keyFileFlag() cli.Flag {
	return &cli.StringFlag{Name: "key-file", TakesFile: true,
		Usage: "the `FILE` with the secret key of the server; otherwise " + keyfile.Variable + " names it, or it is <id>.key in keyDir"}
}

// serverID returns the value of the flag -id, or noID if it was not given.
func serverID(c *cli.Command) (int, error) {
	id := c.Int("id")
	if c.IsSet("id") && (id < 0 || id > peercatalog.MaxID) {
		return 0, usageError("-id %d: want 0 to %d", id, peercatalog.MaxID)
	}
	return id, nil
}

// neededID is serverID for commands that cannot do without.
func neededID(c *cli.Command) (int, error) {
	id, err := serverID(c)
	if err == nil && id == noID {
		err = usageError("-id is missing: which server of the configuration should this be? See %s --help", c.FullName())
	}
	return id, err
}
