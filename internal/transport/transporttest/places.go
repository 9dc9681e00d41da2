package transporttest

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func (k kit) TestAPortThatIsTakenIsAnError(t *testing.T) {
	for name, endpoint := range map[string]string{"tcp": FreeEndpoint(t), "ipc": IPCEndpoint(t)} {
		t.Run(name, func(t *testing.T) {
			l := k.listen(t, endpoint)
			if _, err := k.network.Listen(endpoint, nil, nil); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("a second Listen: %v", err)
			}
			Send(t, k.dial(t, endpoint), []byte("x"), nil)
			if _, _, err := l.Recv(time.Now().Add(Limit)); err != nil {
				t.Errorf("the first listener: %v", err)
			}
		})
	}
	t.Run("a foreign address", func(t *testing.T) {
		_, err := k.network.Listen("tcp://192.0.2.1:4000", nil, nil) // set aside for documentation
		if !errors.Is(err, syscall.EADDRNOTAVAIL) && !errors.Is(err, syscall.ENODEV) || !strings.Contains(err.Error(), `"bind"`) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a file that is no socket", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "data")
		if err := os.WriteFile(path, []byte("keep me"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := k.network.Listen("ipc://"+path, nil, nil); !errors.Is(err, fs.ErrExist) {
			t.Errorf("got %v", err)
		}
		if b, err := os.ReadFile(path); string(b) != "keep me" {
			t.Errorf("the file holds %q now, %v", b, err)
		}
	})
}

func (k kit) TestAHostNameIsListenedOn(t *testing.T) {
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(FreeEndpoint(t), "tcp://"))
	l, c := k.listen(t, "tcp://localhost:"+port), k.dial(t, "tcp://localhost:"+port)
	Send(t, c, []byte("x"), nil)
	if _, _, err := l.Recv(time.Now().Add(Limit)); err != nil {
		t.Error(err)
	}
}

// reaches wants the endpoint to be listened on.
func reaches(t testing.TB, endpoint string) {
	t.Helper()
	c, err := net.DialTimeout("tcp", strings.TrimPrefix(endpoint, "tcp://"), Limit)
	if err != nil {
		t.Errorf("%s is not listened on: %v", endpoint, err)
		return
	}
	c.Close()
}

func (k kit) TestAnInterfaceIsListenedOnByItsName(t *testing.T) {
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		if i.Flags&net.FlagLoopback == 0 || i.Flags&net.FlagUp == 0 {
			continue
		}
		endpoint := FreeEndpoint(t)
		k.listen(t, strings.Replace(endpoint, "127.0.0.1", i.Name, 1))
		reaches(t, endpoint)
		return
	}
	t.Skip("this machine has no loopback interface")
}

func (k kit) TestTheWildcardIsAllAddressesOfBothFamilies(t *testing.T) {
	endpoint := FreeEndpoint(t)
	k.listen(t, strings.Replace(endpoint, "127.0.0.1", "*", 1))
	reaches(t, endpoint)
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
		l.Close()
		reaches(t, strings.Replace(endpoint, "127.0.0.1", "[::1]", 1))
	}
}

func (k kit) TestThatAnAddressIsInUseIsToldRatherThanEvaded(t *testing.T) {
	endpoint := FreeEndpoint(t)
	k.listen(t, endpoint)
	// The name of all addresses: the next to be tried would be free.
	_, err := k.network.Listen(strings.Replace(endpoint, "127.0.0.1", "*", 1), nil, nil)
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%v, want %v", err, syscall.EADDRINUSE)
	}
}

func (k kit) TestANameThatDoesNotResolveIsAnErrorThatNamesIt(t *testing.T) {
	began := time.Now()
	_, err := k.network.Listen("tcp://no-such-host.invalid:7001", nil, nil)
	if err == nil || !strings.Contains(err.Error(), `"no-such-host.invalid"`) {
		t.Errorf("%v, want it to name the name", err)
	}
	if took := time.Since(began); took > Limit {
		t.Errorf("it took %v", took)
	}
}
