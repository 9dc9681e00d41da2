package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/abhishekg16/cluster/internal/keyfile"
	"github.com/abhishekg16/cluster/peercatalog"
)

// noID is the value of the flag -id that was not given.
const noID = -1

// decimal is how numbers are read, in each flag and in --to: 010 is ten.
var decimal = cli.IntegerConfig{Base: 10}

func idFlag(usage string) cli.Flag {
	return &cli.IntFlag{Name: "id", Value: noID, HideDefault: true, Usage: usage, Config: decimal}
}

func toFlag(usage string) cli.Flag { return &cli.StringFlag{Name: "to", Usage: usage} }

func jsonFlag() cli.Flag { return &cli.BoolFlag{Name: "json", Usage: "print one JSON object"} }

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

const wantDestinations = "the id of a server, several with commas between them, or all (but observers)"

// destinations reads the flag --to. No ids at all means all servers.
func destinations(c *cli.Command) (ids []int, err error) {
	flag := c.String("to")
	switch {
	case !c.IsSet("to"):
		return nil, usageError("--to is missing: %s", wantDestinations)
	case flag == "all":
		return nil, nil
	}
	for field := range strings.SplitSeq(flag, ",") {
		id, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || id < 0 || id > peercatalog.MaxID {
			return nil, usageError("--to %q: want %s", flag, wantDestinations)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// toItself is the error of a command whose --to has the server -id in it.
func toItself(c *cli.Command) error {
	return usageError("--to %s has -id itself in it: want other servers", c.String("to"))
}

// positive returns the value of a flag that is a time, which must be more than 0.
func positive(c *cli.Command, name string) (time.Duration, error) {
	d := c.Duration(name)
	if d <= 0 {
		return 0, usageError("--%s %v: want more than 0", name, d)
	}
	return d, nil
}

var (
	invalidValue = regexp.MustCompile(`^invalid value ("(?s:.*)") for flag -+([^:]+): `)
	unknownFlag  = regexp.MustCompile(`^flag provided but not defined: -+([^\s=]*)`)
)

// plainly says what is wrong with a flag in other words than those of Go's packages.
func plainly(c *cli.Command, err error) string {
	text := err.Error()
	if m := unknownFlag.FindStringSubmatch(text); m != nil {
		text = fmt.Sprintf("there is no flag --%s", m[1])
		if near := cli.SuggestFlag(c.Flags, m[1], false); near != "" && m[1] != "" && strings.Trim(near, "-")[0] == m[1][0] {
			text += fmt.Sprintf(" (did you mean %s?)", near)
		}
		return text
	}
	m := invalidValue.FindStringSubmatch(text)
	if m == nil {
		return text
	}
	want := "another value"
	for _, f := range c.Flags {
		if !slices.Contains(f.Names(), m[2]) {
			continue
		}
		switch f.(type) {
		case *cli.IntFlag:
			want = "a whole number"
		case *cli.DurationFlag:
			want = "a time with its unit, such as 5s or 250ms"
		case *cli.BoolFlag:
			want = "true or false, or no value"
		}
	}
	return fmt.Sprintf("--%s %s: want %s", m[2], m[1], want)
}
