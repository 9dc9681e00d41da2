package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// staged is the content of a file beside it, on the disk already, waiting to take its
// place in one step.
type staged struct{ temporary, path string }

// stage writes the content beside path, with the mode of the file that it will be.
func stage(path string, content []byte, mode fs.FileMode) (_ *staged, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return nil, about(path, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			err = errors.Join(about(path, err), os.Remove(f.Name()))
		}
	}()
	if _, err := f.Write(content); err != nil {
		return nil, err
	}
	if err := f.Chmod(mode); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	return &staged{f.Name(), path}, nil
}

// about is an error with the path that the user knows in the place of a temporary one.
func about(path string, err error) error {
	var in *fs.PathError
	if errors.As(err, &in) {
		return &fs.PathError{Op: "write", Path: path, Err: in.Err}
	}
	var between *os.LinkError
	if errors.As(err, &between) {
		return &fs.PathError{Op: "write", Path: path, Err: between.Err}
	}
	return fmt.Errorf("%s: %w", path, err)
}

// replace puts the content in the place of the file, if there is one.
func (s *staged) replace() error {
	if err := os.Rename(s.temporary, s.path); err != nil {
		return about(s.path, err)
	}
	syncDir(filepath.Dir(s.path))
	return nil
}

// create makes the file, which must not exist: then the error wraps fs.ErrExist. What stage
// has written stays, for the caller to discard.
func (s *staged) create() error {
	err := os.Link(s.temporary, s.path) // unlike rename, it takes nothing's place
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = s.createExclusively() // not all file systems have links
	}
	if err != nil {
		return about(s.path, err)
	}
	syncDir(filepath.Dir(s.path))
	return nil
}

func (s *staged) createExclusively() (err error) {
	info, err := os.Stat(s.temporary)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(s.temporary)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(s.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		os.Remove(s.path)
	}
	return err
}

// discard deletes what stage has written, if it is still there.
func (s *staged) discard() error {
	if err := os.Remove(s.temporary); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncDir makes what was created or renamed in a directory last. Where that is not
// possible the file system does so in its own time.
func syncDir(dir string) {
	if runtime.GOOS == "windows" {
		return
	}
	if d, err := os.Open(dir); err == nil {
		d.Sync()
		d.Close()
	}
}
