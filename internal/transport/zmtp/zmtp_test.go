package zmtp

import (
	"testing"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/transporttest"
)

func TestTheNetworkKeepsThePromisesOfATransport(t *testing.T) { transporttest.Run(t, Network{}) }

const limit = transporttest.Limit

var (
	freeEndpoint = transporttest.FreeEndpoint
	ipcEndpoint  = transporttest.IPCEndpoint
	send         = transporttest.Send
	fill         = transporttest.Fill
	until        = transporttest.Until
	securityOf   = transporttest.Pair
)

func listen(t testing.TB, endpoint string) transport.Listener {
	t.Helper()
	return transporttest.Listen(t, Network{}, endpoint)
}

func dial(t testing.TB, endpoint string) transport.Conn {
	t.Helper()
	return transporttest.Dial(t, Network{}, endpoint)
}

func everybody(string) bool { return true }
