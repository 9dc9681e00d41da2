package transporttest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abhishekg16/cluster/internal/transport"
)

// onLinux is what else is tested on Linux.
func (k kit) onLinux() []test {
	return []test{
		{"AnotherUsersPathIsNotTaken", k.TestAnotherUsersPathIsNotTaken},
		{"WhatComesToAPeersMachineIsKnown", k.TestWhatComesToAPeersMachineIsKnown},
		{"ThatAConnectionHasBrokenIsKnownAlsoWhileItIsFull", k.TestThatAConnectionHasBrokenIsKnownAlsoWhileItIsFull},
	}
}

// fill sends to who does not read, until the connection has taken nothing for a while. It reports false if it takes more than that needs: a
// transport may read for who listens.
func (k kit) fill(t testing.TB, c transport.Conn) (full bool) {
	t.Helper()
	frame := make([]byte, 64<<10)
	for range 400 {
		if c.Wait(time.Now().Add(100*time.Millisecond)) != nil {
			return true
		}
		if _, err := c.TrySend(frame[:64], frame); err != nil {
			t.Fatal(err)
		}
	}
	return false
}

// becomes waits until a condition holds.
func becomes(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(Limit); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in %v: %s", Limit, what)
		}
	}
}

func (k kit) TestWhatComesToAPeersMachineIsKnown(t *testing.T) {
	endpoint := FreeEndpoint(t)
	l, c := k.listen(t, endpoint), k.dial(t, endpoint)
	full := k.fill(t, c)
	before, known := transport.FlowOf(c)
	if !known || before.Came == 0 || full && before.Waits == 0 {
		t.Fatalf("of a connection, full: %v: %+v, %v", full, before, known)
	}
	if again, _ := transport.FlowOf(c); full && again.Came != before.Came {
		t.Errorf("to who does not read %d bytes come, and then %d", before.Came, again.Came)
	}
	becomes(t, "all has come", func() bool {
		l.Recv(time.Now().Add(time.Millisecond))
		f, _ := transport.FlowOf(c)
		return f.Came > 0 && f.Waits == 0
	})
}

func (k kit) TestThatAConnectionHasBrokenIsKnownAlsoWhileItIsFull(t *testing.T) {
	for name, endpoint := range map[string]string{"tcp": FreeEndpoint(t), "ipc": IPCEndpoint(t)} {
		for _, full := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, full: %v", name, full), func(t *testing.T) {
				l, err := k.network.Listen(endpoint, nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				c := dial(t, k.network, endpoint, nil, "", 0)
				if err := c.Wait(time.Now().Add(Limit)); err != nil {
					t.Fatal(err)
				}
				if full && !k.fill(t, c) {
					t.Skip("it is never full")
				}
				if !transport.Stands(c, !full) {
					t.Error("it stands, and that is not known")
				}
				l.Close()
				becomes(t, "it does not stand", func() bool { return !transport.Stands(c, !full) })
			})
		}
	}
}

// asUser runs f with the rights that another user has to files. It ends its thread, which keeps
// them.
func asUser(t testing.TB, uid int, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user")
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setfsuid(uid); err != nil {
			done <- err
			return
		}
		f()
		done <- nil
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func (k kit) TestAnotherUsersPathIsNotTaken(t *testing.T) {
	const other = 65534
	shared := func(t *testing.T) (endpoint string) {
		endpoint = IPCEndpoint(t)
		dir := filepath.Dir(strings.TrimPrefix(endpoint, "ipc://"))
		for ; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o777); err != nil {
				t.Fatal(err)
			}
		}
		return endpoint
	}
	for _, c := range []struct {
		name string
		take func(t *testing.T, endpoint string)
	}{
		{"who has a lock", func(t *testing.T, endpoint string) { k.listen(t, endpoint) }},
		{"who has none", func(t *testing.T, endpoint string) { stand(t, strings.TrimPrefix(endpoint, "ipc://")) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			endpoint := shared(t)
			path := strings.TrimPrefix(endpoint, "ipc://")
			c.take(t, endpoint)
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			asUser(t, other, func() { _, err = k.network.Listen(endpoint, nil, nil) })
			if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "another user") {
				t.Errorf("%v, want it to say that another user has the path", err)
			}
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
				t.Errorf("the socket was replaced or removed (%v)", err)
			}
		})
	}
}
