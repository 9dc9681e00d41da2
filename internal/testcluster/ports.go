package testcluster

import (
	"testing"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/freeport"
)

// LowAddresses returns n addresses on 127.0.0.1, at most 200, that nobody listens at. Their ports are
// below those that the system gives to outgoing connections, and no other process is given them, so that nobody takes the
// port of a server that listens late, or was killed before it is back.
func LowAddresses(t testing.TB, n int) (all []string) {
	t.Helper()
	for range n {
		l, err := freeport.Listen()
		if err != nil {
			t.Fatal(err)
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
