package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/abhishekg16/cluster/internal/curve"
	"github.com/abhishekg16/cluster/internal/keyfile"
)

func keygenCommand(s streams) *cli.Command {
	return &cli.Command{
		Name:      "keygen",
		Usage:     "make keys for servers",
		UsageText: "cluster keygen CONFIG [-id N] [--force]\ncluster keygen CONFIG -id N --rotate [--force]\ncluster keygen -id N [--dir DIR] [--force]",
		Description: `With a configuration, makes keys for all servers in it that have none, or for the
server -id alone, if all others have one: the public keys go into CONFIG, of which no other byte changes, and the
secret ones into its keyDir, each in a file <id>.key that only its owner may read. Where
such a file is there already, its key is taken. Either all of this is written or nothing.

Without one, makes the key of one server, and prints the public key for who keeps the
configuration. So a secret key need never leave the machine of its server.

With --rotate the server gets one more key, its old one stays valid, and what is printed
tells how to go from one to the other without a pause.

Examples:
   cluster keygen Config.json                  keys for all who have none
   cluster keygen -id 3                        makes 3.key here, prints the public key
   cluster keygen Config.json -id 3 --rotate   a new key for server 3, in 3.key.new`,
		Flags: []cli.Flag{
			idFlag("the server `N` alone"),
			&cli.StringFlag{Name: "dir", TakesFile: true, Usage: "without CONFIG: the `DIR` to write the key to, if not the working directory"},
			&cli.BoolFlag{Name: "rotate", Usage: "make a new key for a server that has one, and keep the old one valid"},
			&cli.BoolFlag{Name: "force", Usage: "make new keys, and overwrite the key files that are there"},
		},
		Action: func(_ context.Context, c *cli.Command) error { return keygen(c, s) },
	}
}

func keygen(c *cli.Command, s streams) error {
	id, err := serverID(c)
	if err != nil {
		return err
	}
	force := c.Bool("force")
	switch {
	case c.NArg() == 0 && id == noID:
		return usageError("a configuration or -id is missing: see %s --help", c.FullName())
	case c.NArg() == 0 && c.Bool("rotate"):
		return usageError("--rotate needs the configuration: see %s --help", c.FullName())
	case c.NArg() == 0:
		return keygenAlone(s.out, c.String("dir"), id, force)
	case c.IsSet("dir"):
		return usageError("--dir beside a configuration: its keyDir says where the keys are")
	}
	args, err := arguments(c, "CONFIG")
	if err != nil {
		return err
	}
	file, err := openConfig(args[0])
	if err != nil {
		return err
	}
	switch {
	case !c.Bool("rotate"):
		return keygenAll(s.out, file, id, force)
	case id == noID:
		return usageError("--rotate needs -id: which server is to have a new key?")
	}
	return rotate(s.out, file, id, force)
}

// keygenAlone makes the key of one server, of which no configuration is at hand.
func keygenAlone(out io.Writer, dir string, id int, force bool) error {
	key, err := newKey(id, keyfile.Path("", dir, id))
	if err != nil {
		return err
	}
	w := writes{keys: []keyWrite{key}, force: force}
	if err := w.commit(); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: the secret key of server %d, which nobody else may have\n", key.path, id)
	fmt.Fprintf(out, "The public key, for the entry of server %d in every server's configuration:\n  \"public_key\": %q\n", id, key.public)
	return nil
}

// keygenAll makes the keys of the servers that have none, or of the server id alone.
func keygenAll(out io.Writer, file *configFile, only int, force bool) error {
	cfg, err := file.withTrialKeys()
	if err != nil {
		return err
	}
	if only != noID && !slices.ContainsFunc(cfg.Peers, hasID(only)) {
		return fmt.Errorf("%s: no entry has the id %d", file.path, only)
	}
	if only != noID {
		var others []int
		for i, p := range cfg.Peers {
			if p.ID != only && !file.hasKey(i) {
				others = append(others, p.ID)
			}
		}
		if len(others) > 0 {
			return fmt.Errorf("%s: servers %v have no key either, and all must have one or none: leave out -id to make keys for all (nothing was changed)", file.path, others)
		}
	}
	w := writes{config: file, force: force}
	var edits []edit
	var notes, ids []string
	for i, p := range cfg.Peers {
		if file.hasKey(i) || only != noID && p.ID != only {
			continue
		}
		path := keyfile.Path(file.path, cfg.KeyDir, p.ID)
		public, err := existingKey(path)
		switch {
		case force, errors.Is(err, fs.ErrNotExist):
			key, err := newKey(p.ID, path)
			if err != nil {
				return err
			}
			w.keys = append(w.keys, key)
			public = key.public
			notes = append(notes, fmt.Sprintf("%s: the secret key of server %d, which nobody else may have", path, p.ID))
		case err != nil:
			return fmt.Errorf("server %d has a key file that cannot be used (--force makes a new one): %w", p.ID, err)
		default:
			notes = append(notes, fmt.Sprintf("%s: was there already; server %d keeps this key", path, p.ID))
		}
		e, err := givePublicKey(file.text, file.entries[i], public)
		if err != nil {
			return fmt.Errorf("%s: peers[%d]: %w", file.path, i, err)
		}
		edits = append(edits, e)
		ids = append(ids, fmt.Sprint(p.ID))
	}
	if len(edits) == 0 {
		fmt.Fprintf(out, "%s: nothing to do: %s a public key already (--rotate makes a new one)\n", file.path, whoHas(only))
		return nil
	}
	if err := w.edit(edits); err != nil {
		return err
	}
	if err := w.commit(); err != nil {
		return err
	}
	for _, n := range notes {
		fmt.Fprintln(out, n)
	}
	fmt.Fprintf(out, "%s: has the public %s of %s now\n", file.path, plural(len(ids), "key", "keys"), nameServers(ids))
	fmt.Fprintf(out, "\nNext: bring each key file to its own server, into keyDir beside the configuration, and delete it elsewhere;\n"+
		"give all servers this %s, and restart them. Servers with keys do not hear those without.\n", filepath.Base(file.path))
	return nil
}

func hasID(id int) func(p peer) bool { return func(p peer) bool { return p.ID == id } }

// newKey makes a key for the server that is to be written to path.
func newKey(id int, path string) (keyWrite, error) {
	public, secret, err := curve.Generate()
	if err != nil {
		return keyWrite{}, err
	}
	text := keyfile.Text(secret,
		fmt.Sprintf("The secret key of server %d. Nobody else may have it.", id),
		"Its public key is "+public)
	return keyWrite{path: path, public: public, content: text}, nil
}

// existingKey returns the public key that belongs to the secret one in a file.
func existingKey(path string) (public string, err error) {
	secret, err := keyfile.Read(path)
	if err != nil {
		return "", err
	}
	return curve.Public(secret)
}

func whoHas(only int) string {
	if only == noID {
		return "each server has"
	}
	return fmt.Sprintf("server %d has", only)
}

func nameServers(ids []string) string {
	return plural(len(ids), "server", "servers") + " " + strings.Join(ids, ", ")
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
