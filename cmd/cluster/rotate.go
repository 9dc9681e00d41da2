package main

import (
	"fmt"
	"slices"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/keyfile"
	"github.com/abhishekg16/cluster/internal/shell"
)

// rotate gives a server one more key: its present one becomes the previous one.
func (r *keyReport) rotate(file *configFile, id int, force bool) error {
	cfg, i, err := file.keyed(id)
	if err != nil {
		return err
	}
	if cfg.Peers[i].PreviousPublicKey != "" {
		return fmt.Errorf("%s: server %d has a previous_public_key: finish that change before the next, with\n%s%s",
			file.path, id, commandIndent, dropCommand(file, id))
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
	if r.left, err = w.commit(); err != nil {
		return err
	}
	r.made(id, key)
	r.note = fmt.Sprintf("%s: server %d has a new public_key, and the old one as previous_public_key", file.path, id)
	r.Next = rotateSteps(newSites(file, cfg), cfg.Peers[i], key.path, present)
	return nil
}

// dropPrevious takes the previous public key of a server out of the configuration.
func (r *keyReport) dropPrevious(file *configFile, id int, force bool) error {
	cfg, i, err := file.keyed(id)
	if err != nil {
		return err
	}
	p := cfg.Peers[i]
	previous := file.entries[i].field("previous_public_key")
	if previous == nil {
		r.note = fmt.Sprintf("%s: nothing to do: server %d has no previous_public_key", file.path, id)
		return nil
	}
	path := keyfile.Path(file.path, cfg.KeyDir, id)
	if public, err := existingKey(path); err == nil && public == p.PreviousPublicKey && !force {
		return fmt.Errorf("%s: server %d still has its old key: put the new one in its place first (--force drops the old one all the same, and then nobody hears the server)", path, id)
	}
	w := writes{config: file}
	if err := w.edit([]edit{removeMember(file.entries[i], previous)}); err != nil {
		return err
	}
	if _, err := w.commit(); err != nil {
		return err
	}
	r.note = fmt.Sprintf("%s: server %d has no previous_public_key any more", file.path, id)
	r.Next = dropSteps(newSites(file, cfg))
	return nil
}

// keyed loads the configuration, and finds a server in it that must have a key.
func (f *configFile) keyed(id int) (cfg cluster.Config, i int, err error) {
	if cfg, err = cluster.LoadConfig(f.path); err != nil {
		return cfg, 0, err
	}
	i = slices.IndexFunc(cfg.Peers, hasID(id))
	switch {
	case i < 0:
		return cfg, 0, noEntry(cfg, f.path, id)
	case cfg.Peers[i].PublicKey == "":
		return cfg, 0, fmt.Errorf("%s: server %d has no key yet. This makes keys for all:\n%s%s",
			f.path, id, commandIndent, shell.Command("cluster", "keygen", operand(f.path)))
	}
	return cfg, i, nil
}
