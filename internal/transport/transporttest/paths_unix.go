//go:build !windows

package transporttest

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster/internal/transport/bind"
)

// paths are the tests of ipc endpoints.
func (k kit) paths() []test {
	return []test{
		{"APathThatIsTakenIsAnError", k.TestAPathThatIsTakenIsAnError},
		{"WhatAKilledServerLeftBehindIsInNobodysWay", k.TestWhatAKilledServerLeftBehindIsInNobodysWay},
		{"NothingIsLeftOfAListenerThatHasClosed", k.TestNothingIsLeftOfAListenerThatHasClosed},
		{"AListenerThatClosesLeavesAnothersSocket", k.TestAListenerThatClosesLeavesAnothersSocket},
		{"WhoTakesOverAPathKeepsIt", k.TestWhoTakesOverAPathKeepsIt},
		{"AnAbstractNameHasNoFiles", k.TestAnAbstractNameHasNoFiles},
	}
}

// files are the names in the folder of an ipc endpoint.
func files(t testing.TB, endpoint string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(strings.TrimPrefix(endpoint, "ipc://")))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// stand makes a socket at the path that somebody listens on who knows nothing of locks.
func stand(t testing.TB, path string) *net.UnixListener {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	t.Cleanup(func() { l.Close() })
	return l
}

func (k kit) TestAPathThatIsTakenIsAnError(t *testing.T) {
	for _, c := range []struct {
		name string
		take func(t *testing.T, path string)
		want error
	}{
		{"by a listener", func(t *testing.T, path string) { k.listen(t, "ipc://"+path) }, syscall.EADDRINUSE},
		{"by another program", func(t *testing.T, path string) { stand(t, path) }, syscall.EADDRINUSE},
		{"by a file", func(t *testing.T, path string) { write(t, path) }, os.ErrExist},
		{"the lock by a folder", func(t *testing.T, path string) { mkdir(t, path+bind.LockSuffix) }, syscall.EISDIR},
		{"the lock by a link", func(t *testing.T, path string) { link(t, path+"x", path+bind.LockSuffix) }, syscall.ELOOP},
	} {
		t.Run(c.name, func(t *testing.T) {
			endpoint := IPCEndpoint(t)
			path := strings.TrimPrefix(endpoint, "ipc://")
			c.take(t, path)
			before := files(t, endpoint)
			l, err := k.network.Listen(endpoint, nil, nil)
			if err == nil {
				l.Close()
			}
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if d := cmp.Diff(before, files(t, endpoint)); d != "" {
				t.Errorf("it leaves something, or takes it away (-before +after):\n%s", d)
			}
		})
	}
}

func write(t testing.TB, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t testing.TB, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func link(t testing.TB, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}

func (k kit) TestWhatAKilledServerLeftBehindIsInNobodysWay(t *testing.T) {
	endpoint := IPCEndpoint(t)
	path := strings.TrimPrefix(endpoint, "ipc://")
	stand(t, path).Close()
	write(t, path+bind.LockSuffix)
	l := k.listen(t, endpoint)
	Passes(t, k.dial(t, endpoint), l, "x")
}

func (k kit) TestNothingIsLeftOfAListenerThatHasClosed(t *testing.T) {
	endpoint := IPCEndpoint(t)
	l, err := k.network.Listen(endpoint, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := strings.TrimPrefix(endpoint, "ipc://")
	base := filepath.Base(path)
	if d := cmp.Diff([]string{base, base + bind.LockSuffix}, files(t, endpoint)); d != "" {
		t.Errorf("the files of a listener differ (-want +got):\n%s", d)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if left := files(t, endpoint); len(left) > 0 {
		t.Errorf("it leaves %v", left)
	}
}

func (k kit) TestAListenerThatClosesLeavesAnothersSocket(t *testing.T) {
	endpoint := IPCEndpoint(t)
	path := strings.TrimPrefix(endpoint, "ipc://")
	l, err := k.network.Listen(endpoint, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	stand(t, path)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the other's socket: %v", err)
	}
	c.Close()
}

// Each that gets the path has a socket there until it closes, whoever else tries or closes.
func (k kit) TestWhoTakesOverAPathKeepsIt(t *testing.T) {
	endpoint := IPCEndpoint(t)
	path := strings.TrimPrefix(endpoint, "ipc://")
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for got := 0; got < 25; {
				l, err := k.network.Listen(endpoint, nil, nil)
				if errors.Is(err, syscall.EADDRINUSE) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				got++
				if c, err := net.Dial("unix", path); err != nil {
					t.Errorf("the socket of who has the path: %v", err)
				} else {
					c.Close()
				}
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func (k kit) TestAnAbstractNameHasNoFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	const name = "@cluster-test"
	write(t, name) // ZeroMQ by itself would remove it
	l, err := k.network.Listen("ipc://"+name, nil, nil)
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, os.ErrNotExist) {
		t.Skipf("there are no abstract names here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	Passes(t, k.dial(t, "ipc://"+name), l, "x")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir("."); err != nil || len(left) != 1 || left[0].Name() != name {
		t.Errorf("the folder has %v (%v), want the file of that name alone", left, err)
	}
}
