package bind

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheFirstAddressThatIsOfThisMachineIsBound(t *testing.T) {
	// 192.0.2.0/24 is nobody's (RFC 5737).
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(free.Addr().String())
	free.Close()
	var addrs []netip.AddrPort
	for _, a := range []string{"192.0.2.1", "2001:db8::1", "127.0.0.1"} {
		addrs = append(addrs, netip.AddrPortFrom(netip.MustParseAddr(a), at.Port()))
	}
	tried := []string{}
	err = First(addrs, func(a netip.AddrPort) error {
		tried = append(tried, a.Addr().String())
		if a.Addr().IsLoopback() {
			return nil
		}
		return bindAnywhere(a)
	})
	if err != nil {
		t.Error(err)
	}
	if d := cmp.Diff([]string{"192.0.2.1", "2001:db8::1", "127.0.0.1"}, tried); d != "" {
		t.Errorf("the addresses that were tried differ (-want +got):\n%s", d)
	}
	err = First(addrs[:2], bindAnywhere)
	if !isElsewhere(err) || !strings.Contains(fmt.Sprint(err), "192.0.2.1") {
		t.Errorf("%v, want it to say that none is of this machine, and which they were", err)
	}
}

// bindAnywhere binds and closes.
func bindAnywhere(a netip.AddrPort) error {
	var c net.ListenConfig
	l, err := c.Listen(context.Background(), "tcp", a.String())
	if err != nil {
		return err
	}
	return l.Close()
}
