//go:build cgo && !nozmq

package zmq

import (
	"testing"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/transporttest"
)

const limit = transporttest.Limit

var (
	freeEndpoint = transporttest.FreeEndpoint
	ipcEndpoint  = transporttest.IPCEndpoint
	send         = transporttest.Send
	passes       = transporttest.Passes
	hears        = transporttest.Hears
	fill         = transporttest.Fill
	until        = transporttest.Until
	stranger     = transporttest.Stranger
	pair         = transporttest.Pair
)

func listen(t testing.TB, endpoint string) transport.Listener {
	t.Helper()
	return transporttest.Listen(t, Network{}, endpoint)
}

func dial(t testing.TB, endpoint string) transport.Conn {
	t.Helper()
	return transporttest.Dial(t, Network{}, endpoint)
}

func guarded(t testing.TB, s *transport.Security) (transport.Listener, string) {
	t.Helper()
	return transporttest.Guarded(t, Network{}, s)
}

func join(t testing.TB, endpoint string, self *transport.Security, server string) transport.Conn {
	t.Helper()
	return transporttest.Join(t, Network{}, endpoint, self, server)
}

func all(string) bool { return true }
