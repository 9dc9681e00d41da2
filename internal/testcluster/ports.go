package testcluster

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"

	"github.com/abhishekg16/cluster"
)

// LowAddresses returns n addresses on 127.0.0.1 that nobody listens at. Their ports are
// below those that the system gives to outgoing connections, so that nobody takes the
// port of a server that listens late, or was killed before it is back.
func LowAddresses(t testing.TB, n int) (all []string) {
	t.Helper()
	for tries := 0; len(all) < n; tries++ {
		if tries > 100*n {
			t.Fatal("no free ports between 10000 and 32000")
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(22_000))))
		if err != nil {
			continue
		}
		defer l.Close() // all are held until the last is known, so that they differ
		all = append(all, l.Addr().String())
	}
	return all
}

// ProcessConfig is that of n servers with the ids 0 to n-1 that may be killed and
// started again; see LowAddresses.
func ProcessConfig(t testing.TB, n int) cluster.Config {
	t.Helper()
	return configOf(LowAddresses(t, n))
}
