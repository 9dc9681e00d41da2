package clustertest_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/internal/curve"
	"github.com/abhishekg16/cluster/peercatalog"
)

// newNode is cluster.NewFromConfig as the suite wants it.
func newNode(pid int, cfg cluster.Config) (cluster.Server, error) {
	return cluster.NewFromConfig(pid, cfg)
}

// A receiving node's Inbox has what Receive returned.
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

// TestContract checks the rules of the package comment over each transport.
func TestContract(t *testing.T) {
	t.Run("tcp", func(t *testing.T) {
		clustertest.TestServer(t, clustertest.Implementation{New: newNode})
	})
	t.Run("tcp with keys", func(t *testing.T) {
		clustertest.TestServer(t, clustertest.Implementation{New: newNode, Config: keyedConfig})
	})
	t.Run("ipc", func(t *testing.T) {
		clustertest.TestServer(t, clustertest.Implementation{New: newNode, Config: ipcConfig})
	})
	t.Run("mem", func(t *testing.T) {
		clustertest.TestServer(t, clustertest.Implementation{New: newNode, Config: memConfig, Bubble: true})
	})
	t.Run("tcp, by Receive", func(t *testing.T) {
		clustertest.TestServer(t, clustertest.Implementation{New: newReceiving})
	})
	t.Run("mem, by Receive", func(t *testing.T) {
		clustertest.TestServer(t, clustertest.Implementation{New: newReceiving, Config: memConfig, Bubble: true})
	})
}

func ipcConfig(t testing.TB, n int) (cfg cluster.Config) {
	t.Helper()
	dir, err := os.MkdirTemp("", "ipc") // t.TempDir can be too long for the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for id := range n {
		cfg.Peers = append(cfg.Peers, peercatalog.Peer{ID: id, Address: "ipc://" + filepath.Join(dir, fmt.Sprint(id))})
	}
	return cfg
}

// keyedConfig is a configuration over TCP in which all servers have keys.
func keyedConfig(t testing.TB, n int) (cfg cluster.Config) {
	t.Helper()
	cfg.KeyDir = t.TempDir()
	for id := range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // when all are held, so that they differ
		public, secret, err := curve.Generate()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(cfg.KeyDir, fmt.Sprintf("%d.key", id)), []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg.Peers = append(cfg.Peers, peercatalog.Peer{ID: id, Address: l.Addr().String(), PublicKey: public})
	}
	return cfg
}

var memConfigs atomic.Int64

func memConfig(_ testing.TB, n int) (cfg cluster.Config) {
	name := fmt.Sprintf("mem://contract%d", memConfigs.Add(1))
	for id := range n {
		cfg.Peers = append(cfg.Peers, peercatalog.Peer{ID: id, Address: fmt.Sprint(name, "/", id)})
	}
	return cfg
}
