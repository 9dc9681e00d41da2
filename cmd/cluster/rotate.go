package main

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/keyfile"
)

// rotate gives a server one more key: its present one becomes the previous one.
func rotate(out io.Writer, file *configFile, id int, force bool) error {
	cfg, err := cluster.LoadConfig(file.path)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(cfg.Peers, hasID(id))
	switch {
	case i < 0:
		return fmt.Errorf("%s: no entry has the id %d", file.path, id)
	case cfg.Peers[i].PublicKey == "":
		return fmt.Errorf("%s: server %d has no key yet: cluster keygen %s makes keys for all", file.path, id, file.path)
	case cfg.Peers[i].PreviousPublicKey != "":
		return fmt.Errorf("%s: server %d has a previous_public_key: finish that change, and remove it, before the next", file.path, id)
	}
	present := keyfile.Path(file.path, cfg.KeyDir, id)
	key, err := newKey(id, present+".new")
	if err != nil {
		return err
	}
	edits, err := replacePublicKey(file.text, file.entries[i], key.public)
	if err != nil {
		return fmt.Errorf("%s: peers[%d]: %w", file.path, i, err)
	}
	w := writes{config: file, keys: []keyWrite{key}, force: force}
	if err := w.edit(edits); err != nil {
		return err
	}
	if err := w.commit(); err != nil {
		return err
	}
	name := filepath.Base(file.path)
	fmt.Fprintf(out, `%[1]s: the new secret key of server %[2]d, which nobody else may have
%[3]s: server %[2]d has a new public_key, and the old one as previous_public_key

Next, in this order:
  1. Give all servers this %[4]s, and restart the others one by one.
     Server %[2]d goes on with its old key meanwhile.
  2. At server %[2]d:  mv %[5]s.new %[5]s  and restart it.
  3. Remove previous_public_key from its entry, give all servers the file again,
     and restart them one by one. From then on the old key opens nothing.
`, key.path, id, file.path, name, present)
	return nil
}
