package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// A Ballot is what a server must not forget, not even in a crash (figure 2, "persistent state").
type Ballot struct {
	Term     int `json:"term"`     // the latest that the server has seen
	VotedFor int `json:"votedFor"` // in that term, or Nobody
}

// Storage keeps a Ballot.
type Storage interface {
	// Load returns what was saved last. Where nothing was, that is a server's first start: term 0, and no vote.
	Load() (Ballot, error)
	// Save returns when the ballot is where a crash does not reach it.
	Save(Ballot) error
}

// A File is a Storage in the file of that name. A server needs one of its own.
type File string

// Load implements Storage.
func (f File) Load() (Ballot, error) {
	text, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return Ballot{VotedFor: Nobody}, nil
	}
	if err != nil {
		return Ballot{}, err
	}
	var b Ballot
	if err := json.Unmarshal(text, &b); err != nil {
		return Ballot{}, fmt.Errorf("%s: %w", f, err)
	}
	return b, nil
}

// Save implements Storage. It writes another file, and gives it the name of this one once it is on the disk: who is
// interrupted at any point leaves either the old ballot or the new one.
func (f File) Save(b Ballot) (err error) {
	text, err := json.Marshal(b)
	if err != nil {
		return err
	}
	next, err := os.Create(string(f) + ".new")
	if err != nil {
		return err
	}
	_, err = next.Write(append(text, '\n'))
	if err := errors.Join(err, next.Sync(), next.Close()); err != nil {
		return err
	}
	if err := os.Rename(next.Name(), string(f)); err != nil {
		return err
	}
	return syncDir(filepath.Dir(string(f)))
}

// syncDir makes a new name in the directory survive a loss of power.
func syncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil // There a directory cannot be synced.
	}
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
