//go:build cgo && !nozmq

package zmq

import (
	"net/netip"
	"testing"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/transporttest"
)

func TestAHostThatHasANameIsDialed(t *testing.T) {
	transporttest.RunNames(t, Network{}, transporttest.Names{
		Dial: func(t testing.TB, ask transporttest.Lookup, host string, port uint16) transport.Conn {
			c, err := newConn(nil, "")
			if err != nil {
				t.Fatal(err)
			}
			n, err := dialName(c, host, port, lookup(ask))
			if err != nil {
				t.Fatal(err)
			}
			return n
		},
		Wanted: func(c transport.Conn) netip.Addr {
			if at := c.(*namedConn).wanted.Load(); at != nil {
				return at.Addr()
			}
			return netip.Addr{}
		},
	})
}
