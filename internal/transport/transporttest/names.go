package transporttest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/names"
	"github.com/abhishekg16/cluster/internal/transport"
)

// A Lookup is what asks for the addresses of a name.
type Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

// Names is how a network dials a host that has a name.
type Names struct {
	// Dial dials a name, whose addresses ask knows, at a port.
	Dial func(t testing.TB, ask Lookup, host string, port uint16) transport.Conn
	// Wanted is the address that the connection is to be made with.
	Wanted func(transport.Conn) netip.Addr
}

// RunNames runs all tests of connections to a host that has a name.
func RunNames(t *testing.T, n transport.Network, names Names) {
	k := named{kit{n}, names}
	for _, c := range []test{
		{"AllAddressesOfANameAreDialedInTurn", k.TestAllAddressesOfANameAreDialedInTurn},
		{"APeerThatHasMovedToAnotherAddressOfItsNameIsFound", k.TestAPeerThatHasMovedToAnotherAddressOfItsNameIsFound},
		{"APeerIsFoundAgainWhileItsNameCannotBeLookedUp", k.TestAPeerIsFoundAgainWhileItsNameCannotBeLookedUp},
		{"AConnectionWhoseNameGetsNoAnswerSaysSoAndClosesAtOnce", k.TestAConnectionWhoseNameGetsNoAnswerSaysSoAndClosesAtOnce},
		{"AnInterruptIsNotTakenForAnotherAddressToBeDialed", k.TestAnInterruptIsNotTakenForAnotherAddressToBeDialed},
	} {
		t.Run(c.name, c.run)
	}
}

type named struct {
	kit
	names Names
}

func (k named) wanted(c transport.Conn) netip.Addr { return k.names.Wanted(c) }

// dial is a connection to a name, which the caller closes.
func (k named) dial(t testing.TB, ask Lookup, port uint16) transport.Conn {
	t.Helper()
	return k.names.Dial(t, ask, "host.example", port)
}

// dialZone is a connection to the name, at the port of the endpoint.
func (k named) dialZone(t testing.TB, ask Lookup, endpoint string) transport.Conn {
	t.Helper()
	c := k.dial(t, ask, portOf(t, endpoint))
	t.Cleanup(func() {
		if err := c.Close(Limit); err != nil {
			t.Errorf("closing the connection: %v", err)
		}
	})
	return c
}

func portOf(t testing.TB, endpoint string) uint16 {
	t.Helper()
	at, err := netip.ParseAddrPort(strings.TrimPrefix(endpoint, "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	return at.Port()
}

// A zone is a name server with one name.
type zone struct {
	mu    sync.Mutex
	addrs []netip.Addr
	err   error
	asked int
}

func newZone(texts ...string) *zone {
	z := new(zone)
	z.set(nil, texts...)
	return z
}

func (z *zone) set(err error, texts ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.addrs, z.err = nil, err
	for _, t := range texts {
		z.addrs = append(z.addrs, netip.MustParseAddr(t))
	}
}

func (z *zone) lookup(context.Context, string) ([]netip.Addr, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.asked++
	return z.addrs, z.err
}

func (z *zone) count() int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.asked
}

// onHost is an endpoint at another address of this machine, with the port of endpoint.
func onHost(t testing.TB, host, endpoint string) string {
	t.Helper()
	at := netip.MustParseAddrPort(strings.TrimPrefix(endpoint, "tcp://"))
	other := net.JoinHostPort(host, fmt.Sprint(at.Port()))
	l, err := net.Listen("tcp", other)
	if err != nil {
		t.Skipf("this machine has no such address: %v", err)
	}
	l.Close()
	return "tcp://" + other
}

func (k named) TestAllAddressesOfANameAreDialedInTurn(t *testing.T) {
	for _, c := range []struct{ name, addrs, listens string }{
		{"the only one", "127.0.0.1", "127.0.0.1"},
		{"the only one, IPv6", "::1", "::1"},
		{"the first", "127.0.0.1 127.0.0.77", "127.0.0.1"},
		{"the second", "127.0.0.77 127.0.0.1", "127.0.0.1"},
		{"the last", "127.0.0.77 ::1 127.0.0.78 127.0.0.1", "127.0.0.1"},
		{"IPv6 after IPv4", "127.0.0.1 ::1", "::1"},
		{"IPv4 after IPv6", "::1 127.0.0.1", "127.0.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			endpoint := onHost(t, c.listens, FreeEndpoint(t))
			conn := k.dialZone(t, newZone(strings.Fields(c.addrs)...).lookup, endpoint)
			Passes(t, conn, k.listen(t, endpoint), "x")
			for end := time.Now().Add(Limit); transport.Trouble(conn) != nil; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("it stands, and says: %v", transport.Trouble(conn))
				}
			}
		})
	}
}

func (k named) TestAPeerThatHasMovedToAnotherAddressOfItsNameIsFound(t *testing.T) {
	z := newZone("127.0.0.1")
	before := FreeEndpoint(t)
	after := onHost(t, "127.0.0.77", before)
	l, err := k.network.Listen(before, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn := k.dialZone(t, z.lookup, before)
	Passes(t, conn, l, "before")
	asked := z.count()
	Passes(t, conn, l, "still there")
	if now := z.count(); now != asked {
		t.Errorf("the name was looked up %d times although the connection stands", now-asked)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(Limit); z.count() == asked; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the connection is gone, and the name was not looked up again")
		}
	}
	z.set(nil, "127.0.0.77")
	// Nothing is sent meanwhile: a frame for the address before would be lost.
	for end := time.Now().Add(Limit); ; time.Sleep(time.Millisecond) {
		if k.wanted(conn) == netip.MustParseAddr("127.0.0.77") {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the answer differs, and is not to be dialed")
		}
	}
	Passes(t, conn, k.listen(t, after), "after")
}

func (k named) TestAPeerIsFoundAgainWhileItsNameCannotBeLookedUp(t *testing.T) {
	z := newZone("127.0.0.77", "127.0.0.1")
	endpoint := FreeEndpoint(t)
	l, err := k.network.Listen(endpoint, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn := k.dialZone(t, z.lookup, endpoint)
	Passes(t, conn, l, "before")
	z.set(errors.New("the name server died with it"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(Limit); transport.Trouble(conn) == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the connection is gone, and it is not told why")
		}
	}
	PassesAnew(t, conn, k.listen(t, endpoint), "after")
}

func (k named) TestAConnectionWhoseNameGetsNoAnswerSaysSoAndClosesAtOnce(t *testing.T) {
	conn := k.dial(t, func(ctx context.Context, host string) ([]netip.Addr, error) {
		<-ctx.Done()
		return nil, &names.LookupError{Host: host, Cause: ctx.Err()}
	}, portOf(t, FreeEndpoint(t)))
	if ok, err := conn.TrySend([]byte("x"), nil); ok || err != nil {
		t.Errorf("TrySend: %v, %v", ok, err)
	}
	if err := conn.Wait(time.Now().Add(20 * time.Millisecond)); !errors.Is(err, transport.ErrTimeout) {
		t.Errorf("Wait: %v, want %v", err, transport.ErrTimeout)
	}
	if err := transport.Trouble(conn); err == nil || !strings.Contains(err.Error(), `"host.example": no answer for`) {
		t.Errorf("the trouble is %v, want it to name the name and to say that there is no answer", err)
	}
	began := time.Now()
	if err := conn.Close(0); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > Limit/2 {
		t.Errorf("to close it took %v", took)
	}
}

// Both interrupt the same wait; the caller must hear of the one that is his.
func (k named) TestAnInterruptIsNotTakenForAnotherAddressToBeDialed(t *testing.T) {
	z := newZone("127.0.0.77", "127.0.0.78")
	conn := k.dialZone(t, z.lookup, FreeEndpoint(t))
	for i := range 100 {
		result := make(chan error, 1)
		go func() { result <- conn.Wait(time.Now().Add(Limit)) }()
		time.Sleep(time.Duration(i%10) * time.Millisecond)
		conn.Interrupt()
		if err := <-result; !errors.Is(err, transport.ErrInterrupted) {
			t.Fatalf("%v, want %v", err, transport.ErrInterrupted)
		}
	}
}
