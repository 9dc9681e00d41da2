//go:build unix

package filewatch

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit is how long a test waits for what must happen.
const limit = time.Minute

// tempDir is t.TempDir without symbolic links on the way.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// steps are what a test does with files; each must succeed.
type steps struct {
	t   *testing.T
	dir string
}

func (s steps) path(name string) string { return filepath.Join(s.dir, name) }

func (s steps) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s steps) mkdir(name string) {
	s.t.Helper()
	s.check(os.MkdirAll(s.path(name), 0o755))
}

func (s steps) write(name, text string) {
	s.t.Helper()
	s.check(os.WriteFile(s.path(name), []byte(text), 0o644))
}

func (s steps) link(target, name string) {
	s.t.Helper()
	s.check(os.Symlink(target, s.path(name)))
}

func (s steps) rename(from, to string) {
	s.t.Helper()
	s.check(os.Rename(s.path(from), s.path(to)))
}

func (s steps) remove(name string) {
	s.t.Helper()
	s.check(os.RemoveAll(s.path(name)))
}

func TestTheTrailOfAFileHasEachLinkOnTheWay(t *testing.T) {
	s := steps{t, tempDir(t)}
	s.mkdir("etc/v1")
	s.mkdir("etc/deep/er")
	s.write("etc/plain", "x")
	s.write("etc/v1/file", "x")
	s.link("v1", "etc/data")
	s.link("data/file", "etc/file")
	s.link(s.path("etc"), "conf")
	s.link("../../v1/../file", "etc/deep/er/up")
	s.link("loop", "etc/loop")
	s.link("nowhere", "etc/dangling")
	for _, c := range []struct {
		path string
		want []string
	}{
		{"etc/plain", []string{"etc/plain"}},
		{"etc/file", []string{"etc/file", "etc/data", "etc/v1/file"}},
		{"conf/file", []string{"conf", "etc/file", "etc/data", "etc/v1/file"}},
		{"etc/deep/er/up", []string{"etc/deep/er/up", "etc/file", "etc/data", "etc/v1/file"}},
		{"etc/missing", []string{"etc/missing"}},
		{"etc/missing/too", []string{"etc/missing"}},
		{"etc/dangling", []string{"etc/dangling", "etc/nowhere"}},
	} {
		t.Run(c.path, func(t *testing.T) {
			var want []string
			for _, p := range c.want {
				want = append(want, s.path(p))
			}
			if diff := cmp.Diff(want, trail(s.path(c.path))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	if got := trail(s.path("etc/loop")); len(got) > mostLinks+1 {
		t.Errorf("a loop has a trail of %d", len(got))
	}
}

// looked tells when Watch looks, without polls.
func looked(t *testing.T, path string) <-chan struct{} {
	t.Helper()
	stop, done, looks := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() { // The cleanup ends it, and waits for it.
		defer close(done)
		watch(stop, nil, path, func() {
			select {
			case looks <- struct{}{}:
			case <-stop:
			}
		}, func(err error) { t.Errorf("no notifications: %v", err) })
	}()
	t.Cleanup(func() {
		close(stop)
		<-done
	})
	return looks
}

// sees waits until Watch looks and finds text in the file.
func sees(t *testing.T, looks <-chan struct{}, path, text string) {
	t.Helper()
	for deadline := time.After(limit); ; {
		select {
		case <-looks:
			if data, _ := os.ReadFile(path); string(data) == text {
				return
			}
		case <-deadline:
			t.Fatalf("nobody saw %q", text)
		}
	}
}

func TestAChangeOfAFileIsNoticedHoweverItIsMade(t *testing.T) {
	for _, c := range []struct {
		name          string
		before, after func(s steps)
	}{
		{"it is written in place", func(s steps) { s.write("file", "old") }, func(s steps) { s.write("file", "new") }},
		{"another takes its place", func(s steps) { s.write("file", "old") }, func(s steps) {
			s.write("next", "new")
			s.rename("next", "file")
		}},
		{"it is removed and made again", func(s steps) { s.write("file", "old") }, func(s steps) {
			s.remove("file")
			s.write("file", "new")
		}},
		{"it is made", func(s steps) {}, func(s steps) { s.write("file", "new") }},
		{"a link is turned elsewhere, as in a ConfigMap", func(s steps) {
			s.mkdir("..1")
			s.write("..1/file", "old")
			s.link("..1", "..data")
			s.link("..data/file", "file")
		}, func(s steps) {
			s.mkdir("..2")
			s.write("..2/file", "new")
			s.link("..2", "..tmp")
			s.rename("..tmp", "..data")
			s.remove("..1")
		}},
		{"a link to its directory, far up, is turned elsewhere", func(s steps) {
			s.mkdir("v1/a/b")
			s.mkdir("v2/a/b")
			s.write("v1/a/b/f", "old")
			s.write("v2/a/b/f", "new")
			s.link("v1", "current")
			s.link("current/a/b/f", "file")
		}, func(s steps) {
			s.link("v2", "tmp")
			s.rename("tmp", "current")
		}},
		{"where the link leads it is written in place", func(s steps) {
			s.mkdir("far")
			s.write("far/f", "old")
			s.link("far/f", "file")
		}, func(s steps) { s.write("far/f", "new") }},
		{"its directory is moved and another comes", func(s steps) {
			s.mkdir("dir")
			s.write("dir/f", "old")
			s.mkdir("next")
			s.write("next/f", "new")
			s.link("dir/f", "file")
		}, func(s steps) {
			s.rename("dir", "away")
			s.rename("next", "dir")
		}},
		{"its directory is made later", func(s steps) { s.link("dir/f", "file") }, func(s steps) {
			s.mkdir("dir")
			s.write("dir/f", "new")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := steps{t, tempDir(t)}
			c.before(s)
			path := s.path("file")
			looks := looked(t, path)
			<-looks // the watches are there
			c.after(s)
			sees(t, looks, path, "new")
			for _, text := range []string{"newer", "newest"} { // the watches are where the file is now
				s.write("file", text)
				sees(t, looks, path, text)
			}
		})
	}
}

func TestOtherFilesInTheDirectoryAreNoReasonToLook(t *testing.T) {
	s := steps{t, tempDir(t)}
	s.write("file", "x")
	looks := looked(t, s.path("file"))
	<-looks
	for range 100 {
		s.write("log", "line")
	}
	s.write("file", "y")
	for n := 1; ; n++ {
		<-looks
		if data, _ := os.ReadFile(s.path("file")); string(data) == "y" {
			break
		}
		if n > 5 { // the steps of the last write
			t.Fatal("it looks for each change of another file")
		}
	}
}

func TestADirectoryInThePlaceOfAnotherIsWatchedByTheNextPollAtTheLatest(t *testing.T) {
	s := steps{t, tempDir(t)}
	s.mkdir("dir")
	s.write("dir/file", "old")
	w := &watcher{path: s.path("dir/file")}
	defer w.close()
	s.check(w.follow())
	s.rename("dir", "away")
	s.mkdir("dir")
	s.write("dir/file", "new")
	s.check(w.follow()) // as after a poll, if no notification has come
	now, err := os.Stat(s.path("dir"))
	s.check(err)
	if !os.SameFile(w.dirs[s.path("dir")], now) {
		t.Error("the old directory is watched")
	}
}

func TestAFileIsPolledWhereThereAreNoNotifications(t *testing.T) {
	s := steps{t, tempDir(t)}
	s.write("file", "old")
	w := &watcher{path: s.path("file")}
	poll := make(chan time.Time, 1)
	poll <- time.Now()
	if !w.wait(nil, poll) { // nothing was opened
		t.Error("the poll is not noticed")
	}
	stop := make(chan struct{})
	close(stop)
	if w.wait(stop, nil) {
		t.Error("it does not stop")
	}
}

func TestThatThereAreNoNotificationsIsToldOnce(t *testing.T) {
	s := steps{t, tempDir(t)}
	s.write("file", "x")
	var all syscall.Rlimit
	s.check(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &all))
	none := all
	none.Cur = 3 // there is no descriptor for notifications
	s.check(syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none))
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &all)
	var told []error
	stop, looks := make(chan struct{}), 0
	Watch(stop, s.path("file"), func() {
		if looks++; looks == 2 { // at first, and by a poll
			close(stop)
		}
	}, func(err error) { told = append(told, err) })
	if len(told) != 1 || !errors.Is(told[0], syscall.EMFILE) {
		t.Errorf("told %v, want that there are too many files, once", told)
	}
}
