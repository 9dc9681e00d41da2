package zmtp

import (
	"net/netip"
	"testing"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/transporttest"
)

func TestAHostThatHasANameIsDialed(t *testing.T) {
	transporttest.RunNames(t, Network{}, transporttest.Names{
		Dial: func(_ testing.TB, ask transporttest.Lookup, host string, port uint16) transport.Conn {
			return dialName(func() mechanism { return null{pushing} }, host, port, lookup(ask))
		},
		Wanted: func(c transport.Conn) netip.Addr {
			n := c.(*Conn)
			n.mu.Lock()
			defer n.mu.Unlock()
			at, _ := netip.ParseAddrPort(n.named.to.address)
			return at.Addr()
		},
	})
}
