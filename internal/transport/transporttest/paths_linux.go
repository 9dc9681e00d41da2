package transporttest

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// onLinux is what else is tested on Linux.
func (k kit) onLinux() []test {
	return []test{{"AnotherUsersPathIsNotTaken", k.TestAnotherUsersPathIsNotTaken}}
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
