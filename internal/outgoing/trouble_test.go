package outgoing_test

import (
	"strings"
	"testing"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

func TestALinkToANameThatDoesNotResolveSaysSo(t *testing.T) {
	cfg := testcluster.Config(t, "tcp", 2)
	const host = "no-such-host.invalid"
	cfg.Peers[1].Address = host + ":7001"
	n := testcluster.Join(t, 0, cfg)
	testcluster.Put(t, n, &cluster.Envelope{Pid: 1, Msg: "x"})
	testcluster.Eventually(t, "the trouble names the name", func() bool {
		return strings.Contains(testcluster.StatsOf(n, 1).Trouble, host)
	})
}
