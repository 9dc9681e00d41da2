package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/curve"
	"github.com/abhishekg16/cluster/peercatalog"
)

type peer = peercatalog.Peer

// A configFile is a configuration that is to be changed.
type configFile struct {
	path    string // as it was given
	real    string // without symbolic links
	mode    fs.FileMode
	text    []byte
	entries []object
}

func openConfig(path string) (*configFile, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(real)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(real)
	if err != nil {
		return nil, err
	}
	found, err := findEntries(text)
	if err != nil {
		if _, fault := cluster.LoadConfig(path); fault != nil {
			err = fault // it tells the place
		}
		return nil, err
	}
	return &configFile{path, real, info.Mode().Perm(), text, found.entries}, nil
}

// hasKey reports whether the entry has a public key.
func (f *configFile) hasKey(i int) bool {
	m := f.entries[i].field("public_key")
	return m != nil && string(f.text[m.at:m.end]) != quote("")
}

// withTrialKeys returns what the configuration will be once all servers have keys. It
// is loaded as it would be then, since one in which only some have is no good.
func (f *configFile) withTrialKeys() (cluster.Config, error) {
	var edits []edit
	for i, e := range f.entries {
		if f.hasKey(i) {
			continue
		}
		public, _, err := curve.Generate()
		if err != nil {
			return cluster.Config{}, err
		}
		if edit, err := givePublicKey(f.text, e, public); err == nil {
			edits = append(edits, edit)
		} // what is wrong with the entry is found below
	}
	cfg, err := loadEdited(f.path, apply(f.text, edits), len(f.entries))
	if err != nil {
		if _, fault := cluster.LoadConfig(f.path); fault != nil {
			err = fault // it has the places of the file as it is
		}
		return cluster.Config{}, err
	}
	return cfg, nil
}

// A keyWrite is a file with a secret key that is to be made.
type keyWrite struct {
	path    string
	public  string
	content []byte
}

// writes are files that are to be written, all or none.
type writes struct {
	keys   []keyWrite
	force  bool        // over the key files that are there
	config *configFile // nil: none
	text   []byte      // that it is to have
}

// edit sets what the configuration is to have, and checks that it can be loaded then.
func (w *writes) edit(edits []edit) error {
	w.text = apply(w.config.text, edits)
	_, err := loadEdited(w.config.path, w.text, len(w.config.entries))
	return err
}

// commit writes everything to the disk before it puts any file in its place. The
// configuration comes last: until then the key files are of no effect, and they are
// taken back if something fails.
func (w *writes) commit() (err error) {
	var undo []func() error
	defer func() {
		if err == nil {
			return
		}
		var left []error
		for i := len(undo) - 1; i >= 0; i-- {
			if e := undo[i](); e != nil {
				left = append(left, e)
			}
		}
		if len(left) == 0 {
			err = fmt.Errorf("%w (nothing was changed)", err)
		} else {
			err = fmt.Errorf("%w; taking back what was written failed, too: %w", err, errors.Join(left...))
		}
	}()

	var ready []*staged
	defer func() {
		for _, s := range ready {
			s.discard()
		}
	}()
	for _, k := range w.keys {
		dir := filepath.Dir(k.path)
		if err := os.Mkdir(dir, 0o700); err == nil {
			undo = append(undo, func() error { return os.Remove(dir) })
		}
		s, err := stage(k.path, k.content, 0o600)
		if err != nil {
			return err
		}
		ready = append(ready, s)
		undo = append(undo, func() error { s.discard(); return nil }) // before the directory goes
	}
	var config *staged
	if w.config != nil {
		if config, err = stage(w.config.real, w.text, w.config.mode); err != nil {
			return err
		}
		ready = append(ready, config)
	}

	var old []string
	for i, k := range w.keys {
		if w.force {
			saved, err := setAside(k.path)
			if err != nil {
				return err
			}
			if saved != "" {
				old = append(old, saved)
				undo = append(undo, func() error { return os.Rename(saved, k.path) })
			}
		}
		if err := ready[i].create(); err != nil {
			if errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("%s exists already: --force overwrites it", k.path)
			}
			return err
		}
		undo = append(undo, func() error { return os.Remove(k.path) })
	}
	if config != nil {
		if now, err := os.ReadFile(w.config.real); err != nil || !bytes.Equal(now, w.config.text) {
			return errors.Join(fmt.Errorf("%s was changed by somebody else meanwhile: try again", w.config.path), err)
		}
		if err := config.replace(); err != nil {
			return err
		}
	}
	var faults []error
	for _, file := range old {
		if err := os.Remove(file); err != nil {
			faults = append(faults, fmt.Errorf("all is written, but an old secret key is left: %w", err))
		}
	}
	return errors.Join(faults...)
}

// setAside renames a file that is to be replaced, if there is one, and returns its
// new name.
func setAside(path string) (saved string, err error) {
	if info, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", err
	} else if info.IsDir() {
		return "", fmt.Errorf("%s: it is a directory", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".old.*")
	if err != nil {
		return "", err
	}
	f.Close()
	if err := os.Rename(path, f.Name()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}
