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
	if cfg, err := cluster.LoadConfig(path); err == nil && len(cfg.Peers) > len(found.entries) {
		return nil, fmt.Errorf(`%s: replicas have no entry of their own: list each in peers, as in {"id": 0}, which is where its key goes`, path)
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

// nextKey is at the end of the name of a key that waits to take the place of another one.
const nextKey = ".new"

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

	remove func(path string) error // nil: os.Remove
	undo   []func() error          // takes back what was done so far; the last comes first
	ready  []*staged               // for keys
	old    []string                // key files that were set aside
}

// edit sets what the configuration is to have, and checks that it can be loaded then.
func (w *writes) edit(edits []edit) error {
	w.text = apply(w.config.text, edits)
	_, err := loadEdited(w.config.path, w.text, len(w.config.entries))
	return err
}

// commit writes everything to the disk before it puts any file in its place. The
// configuration comes last: until it is replaced the key files are of no effect, and all is
// taken back if something fails. From then on nothing is undone, and no key is deleted that
// the configuration may need; what should be gone and could not be deleted is left.
func (w *writes) commit() (left leftovers, err error) {
	indivisible.Lock()
	defer indivisible.Unlock()
	if w.remove == nil {
		w.remove = os.Remove
	}
	if err := w.place(); err != nil {
		return nil, w.takeBack(err)
	}
	for _, s := range w.ready {
		left = w.delete(left, s.temporary)
	}
	for _, path := range w.old {
		left = w.delete(left, path)
	}
	return left, nil
}

// delete deletes a file that may be gone already.
func (w *writes) delete(left leftovers, path string) leftovers {
	if err := w.remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return append(left, leftover{path, err})
	}
	return left
}

// place does everything that can be undone, and then replaces the configuration.
func (w *writes) place() error {
	for _, k := range w.keys {
		if err := w.prepare(k); err != nil {
			return err
		}
	}
	var config *staged
	if w.config != nil {
		var err error
		if config, err = stage(w.config.real, w.text, w.config.mode); err != nil {
			return err
		}
		w.undo = append(w.undo, config.discard)
	}
	for i, k := range w.keys {
		if err := w.create(k.path, w.ready[i]); err != nil {
			return err
		}
	}
	if config == nil {
		return nil
	}
	if now, err := os.ReadFile(w.config.real); err != nil || !bytes.Equal(now, w.config.text) {
		return errors.Join(fmt.Errorf("%s was changed by somebody else meanwhile: try again", w.config.path), err)
	}
	return config.replace()
}

// prepare writes a key to the disk, in the directory that it is for, which it makes.
func (w *writes) prepare(k keyWrite) error {
	if err := w.makeDir(filepath.Dir(k.path)); err != nil {
		return err
	}
	s, err := stage(k.path, k.content, 0o600)
	if err != nil {
		return err
	}
	w.ready = append(w.ready, s)
	w.undo = append(w.undo, s.discard)
	return nil
}

// makeDir makes a directory, and those that it is in, for its owner alone.
func (w *writes) makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if parent := filepath.Dir(dir); errors.Is(err, fs.ErrNotExist) && parent != dir {
		if err := w.makeDir(parent); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	switch {
	case err == nil:
		w.undo = append(w.undo, func() error { return os.Remove(dir) })
	case errors.Is(err, fs.ErrExist):
		return nil // if it is no directory, that shows next
	}
	return err
}

// create puts a key in its place; by force another one is set aside, and one that was to take that place.
func (w *writes) create(path string, key *staged) error {
	var others []string
	if w.force {
		others = []string{path, path + nextKey}
	}
	for _, other := range others {
		saved, err := setAside(other)
		if err != nil {
			return err
		}
		if saved != "" {
			w.old = append(w.old, saved)
			w.undo = append(w.undo, func() error { return os.Rename(saved, other) })
		}
	}
	if err := key.create(); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already: --force overwrites it", path)
	} else if err != nil {
		return err
	}
	w.undo = append(w.undo, func() error { return os.Remove(path) })
	return nil
}

// takeBack undoes what was done, and adds to err what has come of that.
func (w *writes) takeBack(err error) error {
	var left []error
	for i := len(w.undo) - 1; i >= 0; i-- {
		if e := w.undo[i](); e != nil {
			left = append(left, e)
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("%w; taking back what was written failed, too: %w", err, errors.Join(left...))
	}
	return fmt.Errorf("%w (nothing was changed)", err)
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
		return "", about(path, err)
	}
	f.Close()
	if err := os.Rename(path, f.Name()); err != nil {
		return "", errors.Join(about(path, err), os.Remove(f.Name()))
	}
	return f.Name(), nil
}
