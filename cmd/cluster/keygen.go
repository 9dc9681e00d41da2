package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/curve"
	"github.com/abhishekg16/cluster/internal/keyfile"
	"github.com/abhishekg16/cluster/internal/shell"
)

func keygenCommand(s streams) *cli.Command {
	return &cli.Command{
		Name:  "keygen",
		Usage: "make keys for servers",
		UsageText: `cluster keygen CONFIG [-id N] [--force] [--json]
cluster keygen CONFIG -id N --rotate [--force] [--json]
cluster keygen CONFIG -id N --drop-previous [--force] [--json]
cluster keygen -id N [--dir DIR] [--force] [--json]`,
		Description: `With a configuration, makes keys for all servers in it that have none, or for the server
-id alone, if all others have one: the public keys go into CONFIG, of which no other byte
changes, and the secret ones into its keyDir, each in a file <id>.key that only its owner
may read. Where such a file is there already, its key is taken. Either all of this is
written or nothing. What is to be done next is printed, with commands for a shell.

With --force all servers, or the server -id, get new keys, whether they have some or not.
The old keys, secret and public, are gone, and so is one that --rotate has made and that was
not put in its place, so that servers with new keys and with old ones do not hear one another.

With --rotate the server gets one more key, its old one stays valid, and what is printed
tells how to go from one to the other without a pause. --drop-previous is the last step of
that: it takes the old public key out of CONFIG.

Without a configuration, makes the key of one server, and prints the public key for who
keeps the configuration. So a secret key need never leave the machine of its server.

Examples:
   cluster keygen Config.json                  keys for all who have none
   cluster keygen -id 3                        makes 3.key here, prints the public key
   cluster keygen Config.json -id 3 --rotate   a new key for server 3, in 3.key.new`,
		Flags: []cli.Flag{
			idFlag("the server `N` alone"),
			&cli.StringFlag{Name: "dir", TakesFile: true, Usage: "without CONFIG: the `DIR` to write the key to, if not the working directory"},
			&cli.BoolFlag{Name: "rotate", Usage: "make a new key for a server that has one, and keep the old one valid"},
			&cli.BoolFlag{Name: "drop-previous", Usage: "take the old key that --rotate has kept out of CONFIG"},
			&cli.BoolFlag{Name: "force", Usage: "make new keys for servers that have some, and overwrite key files"},
			jsonFlag(),
		},
		Action: func(_ context.Context, c *cli.Command) error { return keygen(c, s) },
	}
}

func keygen(c *cli.Command, s streams) error {
	id, err := serverID(c)
	if err != nil {
		return err
	}
	rotating, dropping := c.Bool("rotate"), c.Bool("drop-previous")
	switch {
	case rotating && dropping:
		return usageError("--rotate and --drop-previous: want one of them, for they are the first and the last step")
	case c.NArg() == 0 && id == noID:
		return usageError("a configuration or -id is missing: see %s --help", c.FullName())
	case c.NArg() == 0 && (rotating || dropping):
		return usageError("--rotate and --drop-previous need the configuration: see %s --help", c.FullName())
	case c.NArg() > 0 && c.IsSet("dir"):
		return usageError("--dir beside a configuration: its keyDir says where the keys are")
	case (rotating || dropping) && id == noID:
		return usageError("--rotate and --drop-previous need -id: which server's key is it about?")
	}
	r := keyReport{Keys: []keyRow{}}
	if c.NArg() == 0 {
		err = r.makeAlone(c.String("dir"), id, c.Bool("force"))
	} else {
		var args []string
		if args, err = arguments(c, "CONFIG"); err != nil {
			return err
		}
		var file *configFile
		if file, err = openConfig(args[0]); err != nil {
			return err
		}
		r.Config = file.path
		switch {
		case rotating:
			err = r.rotate(file, id, c.Bool("force"))
		case dropping:
			err = r.dropPrevious(file, id, c.Bool("force"))
		default:
			err = r.makeAll(file, id, c.Bool("force"))
		}
	}
	if err != nil {
		return err
	}
	if c.Bool("json") {
		err = printJSON(s.out, r)
	} else {
		r.print(s.out)
	}
	if len(r.left) > 0 {
		err = errors.Join(err, fmt.Errorf("everything above was written, but an old or unused secret key is left: %w\nDelete it:\n%s%s",
			errors.Join(r.left.faults()...), commandIndent, shell.Command(append([]string{"rm"}, r.left.paths()...)...)))
	}
	return err
}

// makeAlone makes the key of one server, of which no configuration is at hand.
func (r *keyReport) makeAlone(dir string, id int, force bool) error {
	key, err := newKey(id, keyfile.Path("", dir, id))
	if err != nil {
		return err
	}
	r.made(id, key)
	w := writes{keys: []keyWrite{key}, force: force}
	r.left, err = w.commit()
	return err
}

// makeAll makes the keys of the servers that have none, or of the server only; or, by
// force, of those that have some too.
func (r *keyReport) makeAll(file *configFile, only int, force bool) error {
	cfg, err := file.withTrialKeys()
	if err != nil {
		return err
	}
	if only != noID {
		if err := file.onlyOneMayLackAKey(cfg, only); err != nil {
			return err
		}
	}
	w := writes{config: file, force: force}
	var edits []edit
	for i, p := range cfg.Peers {
		if file.hasKey(i) && !force || only != noID && p.ID != only {
			continue
		}
		public, err := r.keyFor(&w, keyfile.Path(file.path, cfg.KeyDir, p.ID), p.ID)
		if err != nil {
			return err
		}
		more, err := setPublicKey(file.text, file.entries[i], public)
		if err != nil {
			return fmt.Errorf("%s: peers[%d]: %w", file.path, i, err)
		}
		edits = append(edits, more...)
		r.peers = append(r.peers, p)
	}
	if len(edits) == 0 {
		r.note = fmt.Sprintf("%s: nothing to do: %s a public key already (--rotate makes a new one)", file.path, whoHas(only))
		return nil
	}
	if err := w.edit(edits); err != nil {
		return err
	}
	if r.left, err = w.commit(); err != nil {
		return err
	}
	r.note = fmt.Sprintf("%s: has the public %s of %s now", file.path, plural(len(r.peers), "key", "keys"), nameServers(r.peers))
	r.Next = keygenSteps(newSites(file, cfg), cfg.Peers, r.Keys)
	return nil
}

// keyFor returns the public key for a server: that of the secret key in its file, or a new
// one, which w is to write there.
func (r *keyReport) keyFor(w *writes, path string, id int) (public string, err error) {
	public, err = existingKey(path)
	switch {
	case w.force, errors.Is(err, fs.ErrNotExist):
		key, err := newKey(id, path)
		if err != nil {
			return "", err
		}
		w.keys = append(w.keys, key)
		r.made(id, key)
		return key.public, nil
	case err != nil:
		if _, none := os.Lstat(path); none != nil {
			return "", fmt.Errorf("the key of server %d: %w (nothing was changed)", id, err)
		}
		return "", fmt.Errorf("server %d has a key file that cannot be used: %w (nothing was changed)\nFor a new key, move that file away first:\n%s%s",
			id, err, commandIndent, shell.Command("mv", operand(path), operand(path)+".unusable"))
	}
	r.Keys = append(r.Keys, keyRow{Server: id, File: path, PublicKey: public})
	return public, nil
}

// onlyOneMayLackAKey reports the other servers that have none: all must have one, or none.
func (f *configFile) onlyOneMayLackAKey(cfg cluster.Config, id int) error {
	if err := knownIDs(cfg, f.path, []int{id}); err != nil {
		return err
	}
	var others []int
	for i, p := range cfg.Peers {
		if p.ID != id && !f.hasKey(i) {
			others = append(others, p.ID)
		}
	}
	if len(others) == 0 {
		return nil
	}
	return fmt.Errorf("%s: servers %v have no key either, and all must have one or none: leave out -id to make keys for all (nothing was changed)", f.path, others)
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

func nameServers(peers []peer) string {
	var ids []string
	for _, p := range slices.SortedFunc(slices.Values(peers), func(a, b peer) int { return a.ID - b.ID }) {
		ids = append(ids, fmt.Sprint(p.ID))
	}
	return plural(len(ids), "server", "servers") + " " + strings.Join(ids, ", ")
}
