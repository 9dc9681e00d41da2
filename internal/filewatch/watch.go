// Package filewatch tells when a file may have changed, however it is changed: written in place, replaced
// by another, or reached by a symbolic link that leads elsewhere now.
package filewatch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// pollInterval is how often a file is looked at without a notification: where the file system gives none
// (NFS, FUSE), where the system has no more of them, and for what they miss.
const pollInterval = 3 * time.Second

// followTries is how often watches are set up at most when what they are for changes meanwhile.
const followTries = 5

// Watch calls look at first, and then whenever the file at an absolute path may have changed, until stop
// is closed. It makes all calls from its own goroutine, one after the other. Failed is told, from there
// too, when there are no notifications, so that the file is only looked at every three seconds; once in a row.
func Watch(stop <-chan struct{}, path string, look func(), failed func(error)) {
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	watch(stop, poll.C, path, look, failed)
}

func watch(stop <-chan struct{}, poll <-chan time.Time, path string, look func(), failed func(error)) {
	w := &watcher{path: path}
	defer w.close()
	for told := false; ; {
		err := w.follow() // before look, so that no change is missed between the two
		if err != nil && !told {
			failed(err)
		}
		told = err != nil
		look()
		if !w.wait(stop, poll) {
			return
		}
	}
}

// A watcher has notifications of all that the way to a file consists of. Directories are watched, and not
// the file: a watch on the file would stay with the old one when another takes its place.
type watcher struct {
	path string

	notify *fsnotify.Watcher      // nil: there is none
	trail  []string               // what it is for; see trail
	dirs   map[string]fs.FileInfo // that it watches, by their names; each as it was before
}

// follow sets up the notifications that the way to the file needs now. It keeps those that there are: to close a
// Watcher may take Linux a tenth of a second.
func (w *watcher) follow() (err error) {
	if w.notify == nil {
		if w.notify, err = fsnotify.NewWatcher(); err != nil {
			w.notify = nil
			return err
		}
		w.dirs = make(map[string]fs.FileInfo)
	}
	// A link may be turned elsewhere, and a directory that it led to be removed, while watches are set up. If
	// that happens again and again, the next notification, or the poll, comes here.
	for range followTries {
		var changed bool
		w.trail = trail(w.path)
		if changed, err = w.update(); !changed && err == nil {
			return nil
		}
	}
	if err != nil {
		w.close()
	}
	return err
}

// update makes the directories of the trail those that are watched, and reports whether there were others.
func (w *watcher) update() (changed bool, err error) {
	var dirs []string
	for _, p := range w.trail {
		dirs = append(dirs, filepath.Dir(p))
	}
	for dir := range w.dirs {
		if !slices.Contains(dirs, dir) {
			w.unwatch(dir)
		}
	}
	for _, dir := range dirs {
		now, err := os.Stat(dir)
		if err != nil {
			return true, err
		}
		if was := w.dirs[dir]; was != nil && os.SameFile(was, now) {
			continue
		}
		w.unwatch(dir)
		if err := w.notify.Add(dir); err != nil {
			return true, err
		}
		w.dirs[dir], changed = now, true
	}
	return changed, nil
}

// unwatch ends the watch of a directory, if there is one.
func (w *watcher) unwatch(dir string) {
	if w.dirs[dir] != nil {
		delete(w.dirs, dir)
		w.notify.Remove(dir) // fails if the watch has ended with the directory
	}
}

func (w *watcher) close() {
	if w.notify != nil {
		w.notify.Close() // it waits for its goroutine
		w.notify = nil
	}
}

// wait returns when the file may have changed, or reports false if stop is closed.
func (w *watcher) wait(stop <-chan struct{}, poll <-chan time.Time) bool {
	var events <-chan fsnotify.Event
	var faults <-chan error
	if w.notify != nil {
		events, faults = w.notify.Events, w.notify.Errors
	}
	for {
		select {
		case <-stop:
			return false
		case <-poll:
			return true
		case e := <-events:
			if w.dirs[e.Name] != nil {
				w.unwatch(e.Name) // the directory itself was moved or removed
				return true
			}
			if slices.Contains(w.trail, e.Name) {
				return true
			}
		case err := <-faults:
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				w.close()
			}
			return true // something may have been missed
		}
	}
}
