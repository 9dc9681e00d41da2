package clustertest_test

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/transport/sockets"
	"github.com/abhishekg16/cluster/peercatalog"
)

// newAlternately is newNode with servers of both transports.
func newAlternately(pid int, cfg cluster.Config) (cluster.Server, error) {
	cfg.Transport = []string{sockets.Libzmq, sockets.Go}[pid%2]
	return cluster.NewFromConfig(pid, cfg)
}

// newNode is cluster.NewFromConfig as the suite wants it.
func newNode(pid int, cfg cluster.Config) (cluster.Server, error) {
	return cluster.NewFromConfig(pid, cfg)
}

// A receiving node's Inbox has what Receive returned, which is left to nobody else.
type receiving struct {
	*cluster.Node
	inbox chan *cluster.Envelope
}

func (r receiving) Inbox() chan *cluster.Envelope { return r.inbox }

func newReceiving(pid int, cfg cluster.Config) (cluster.Server, error) {
	node, err := cluster.NewFromConfig(pid, cfg)
	if err != nil {
		return nil, err
	}
	r := receiving{node, make(chan *cluster.Envelope, cap(node.Inbox()))}
	go func() { // It ends when the node has closed.
		defer close(r.inbox)
		for {
			env, err := node.Receive(context.Background())
			if err != nil {
				return
			}
			select {
			case r.inbox <- env:
			case <-node.Done():
				select {
				case r.inbox <- env:
				default: // nobody takes it any more
				}
			}
		}
	}()
	return r, nil
}

// waiting are the rules that wait for times of the network, and so take up to five seconds where time is real. They are tested in virtual time and
// over TCP, and with -long over everything.
func waiting() []string {
	if long {
		return nil
	}
	return append(longest(), ruleUnconfirmed, ruleSeveral, ruleCallEnds, ruleCallAll, ruleComesBack, ruleStandings)
}

// longest are those of them that are tested in virtual time alone, and with -long.
func longest() []string {
	if long {
		return nil
	}
	return []string{ruleSlowReader}
}

// TestContract checks the rules of the package comment over each transport.
func TestContract(t *testing.T) {
	t.Run("tcp", func(t *testing.T) {
		clustertest.TestServer(t, clustertest.Implementation{New: newNode, LeaveOut: longest()})
	})
	t.Run("tcp with keys", func(t *testing.T) {
		slowWithRaceDetector(t)
		clustertest.TestServer(t, clustertest.Implementation{New: newNode, Config: keyedConfig, LeaveOut: waiting()})
	})
	t.Run("tcp with keys, servers of both transports", func(t *testing.T) {
		if _, err := sockets.Choose(sockets.Libzmq, ""); err != nil || os.Getenv(sockets.Variable) != "" {
			t.Skip("this program was built without libzmq, or the environment names one transport for all servers")
		}
		clustertest.TestServer(t, clustertest.Implementation{New: newAlternately, Config: keyedConfig, LeaveOut: waiting()})
	})
	t.Run("ipc", func(t *testing.T) {
		clustertest.TestServer(t, clustertest.Implementation{New: newNode, Config: ipcConfig, LeaveOut: waiting()})
	})
	t.Run("mem", func(t *testing.T) {
		clustertest.TestServer(t, clustertest.Implementation{New: newNode, Config: memConfig, Bubble: true})
	})
	t.Run("tcp, by Receive", func(t *testing.T) {
		slowWithRaceDetector(t)
		clustertest.TestServer(t, clustertest.Implementation{New: newReceiving, LeaveOut: append(waiting(), ruleReceive, ruleWaiting)})
	})
	t.Run("mem, by Receive", func(t *testing.T) {
		clustertest.TestServer(t, clustertest.Implementation{New: newReceiving, Config: memConfig, Bubble: true, LeaveOut: []string{ruleReceive, ruleWaiting}})
	})
}

// slowWithRaceDetector leaves out, without -long, what others of TestContract do but for one thing that a third does.
func slowWithRaceDetector(t *testing.T) {
	if testcluster.RaceEnabled && !long {
		t.Skip("it takes half a minute with the race detector, unless -long is given")
	}
}

func ipcConfig(t testing.TB, n int) cluster.Config { return testcluster.Config(t, "ipc", n) }

// keyedConfig is a configuration over TCP in which all servers have keys.
func keyedConfig(t testing.TB, n int) cluster.Config {
	return testcluster.Keyed(t, testcluster.Config(t, "tcp", n))
}

var memConfigs atomic.Int64

func memConfig(_ testing.TB, n int) (cfg cluster.Config) {
	name := fmt.Sprintf("mem://contract%d", memConfigs.Add(1))
	for id := range n {
		cfg.Peers = append(cfg.Peers, peercatalog.Peer{ID: id, Address: fmt.Sprint(name, "/", id)})
	}
	return cfg
}
