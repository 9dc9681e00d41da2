//go:build unix

package scenario

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

// behind makes the other servers reach the server id through a proxy.
func behind(t testing.TB, cfg cluster.Config, id int) (cluster.Config, *proxy) {
	t.Helper()
	p := newProxy(t, cfg.Peers[id].Address)
	cfg.Peers = slices.Clone(cfg.Peers)
	cfg.Peers[id].Address, cfg.Peers[id].Bind = p.address(), cfg.Peers[id].Address
	return cfg, p
}

// reaches sends messages to the server, of which some may be lost, until one has come.
func reaches(t *testing.T, from, to *cluster.Node) {
	t.Helper()
	start := time.Now()
	testcluster.Eventually(t, "a message has come", func() bool {
		testcluster.Put(t, from, &cluster.Envelope{Pid: to.Pid(), Msg: "x"})
		select {
		case <-to.Inbox():
			return true
		case <-time.After(20 * time.Millisecond):
			return false
		}
	})
	t.Logf("after %v", time.Since(start).Round(time.Millisecond))
}

func TestALinkComesBack(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	t.Run("after a stranger was on its peer's port, without keys", func(t *testing.T) {
		t.Parallel()
		afterAStranger(t, testcluster.ProcessConfig(t, 2))
	})
	t.Run("after a stranger was on its peer's port, with keys", func(t *testing.T) {
		t.Parallel()
		afterAStranger(t, testcluster.Keyed(t, testcluster.ProcessConfig(t, 2)))
	})
	t.Run("after its peer's answer was broken", func(t *testing.T) {
		t.Parallel()
		cfg, p := behind(t, testcluster.Keyed(t, testcluster.ProcessConfig(t, 2)), 1)
		p.tamper(func(conn int, up bool, i int, unit []byte) ([]byte, bool) {
			if conn == 0 && !up && i == firstFrame+1 {
				unit[len(unit)-1] ^= 1
			}
			return unit, false
		})
		n, peer := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		reaches(t, n, peer)
	})
	t.Run("with the second of its peer's keys, over a long way", func(t *testing.T) {
		t.Parallel()
		cfg, p := behind(t, testcluster.Keyed(t, testcluster.ProcessConfig(t, 2)), 1)
		p.tamper(func(_ int, _ bool, _ int, unit []byte) ([]byte, bool) {
			time.Sleep(150 * time.Millisecond) // a handshake takes more than keyInterval
			return unit, false
		})
		peer := testcluster.Join(t, 1, cfg)
		cfg.Peers = slices.Clone(cfg.Peers)
		cfg.Peers[1].PreviousPublicKey, cfg.Peers[1].PublicKey = cfg.Peers[1].PublicKey, testcluster.Stranger(t).Public
		reaches(t, testcluster.Join(t, 0, cfg), peer)
	})
}

// afterAStranger lets somebody who does not speak ZMTP answer the first connection to
// server 1, before that starts.
func afterAStranger(t *testing.T, cfg cluster.Config) {
	l, err := net.Listen("tcp", cfg.Peers[1].Address)
	if err != nil {
		t.Fatal(err)
	}
	greeted := make(chan struct{})
	go func() { // It ends at the first connection, or when the listener closes.
		defer close(greeted)
		c, err := l.Accept()
		if err != nil {
			return
		}
		c.Write([]byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n" + string(make([]byte, 100))))
		c.Close()
	}()
	n := testcluster.Join(t, 0, cfg)
	testcluster.Put(t, n, &cluster.Envelope{Pid: 1, Msg: "x"})
	select {
	case <-greeted:
	case <-time.After(testcluster.Limit):
		t.Error("no connection came")
	}
	l.Close()
	reaches(t, n, testcluster.Join(t, 1, cfg))
}
