//go:build unix

package cluster

import (
	"net"
	"slices"
	"testing"
	"time"
)

// behind makes the other servers reach the server id through a proxy.
func behind(t testing.TB, cfg Config, id int) (Config, *proxy) {
	t.Helper()
	p := newProxy(t, cfg.Peers[id].Address)
	cfg.Peers = slices.Clone(cfg.Peers)
	cfg.Peers[id].Address, cfg.Peers[id].Bind = p.address(), cfg.Peers[id].Address
	return cfg, p
}

// reaches sends messages to the server, of which some may be lost, until one has come.
func reaches(t *testing.T, from, to *Node) {
	t.Helper()
	start := time.Now()
	eventually(t, "a message has come", func() bool {
		put(t, from, &Envelope{to.Pid(), 0, "x"})
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
		afterAStranger(t, processConfig(t, 2))
	})
	t.Run("after a stranger was on its peer's port, with keys", func(t *testing.T) {
		t.Parallel()
		afterAStranger(t, keyed(t, processConfig(t, 2)))
	})
	t.Run("after its peer's answer was broken", func(t *testing.T) {
		t.Parallel()
		cfg, p := behind(t, keyed(t, processConfig(t, 2)), 1)
		p.tamper(func(conn int, up bool, i int, unit []byte) ([]byte, bool) {
			if conn == 0 && !up && i == firstFrame+1 {
				unit[len(unit)-1] ^= 1
			}
			return unit, false
		})
		n, peer := join(t, 0, cfg), join(t, 1, cfg)
		reaches(t, n, peer)
	})
	t.Run("with the second of its peer's keys, over a long way", func(t *testing.T) {
		t.Parallel()
		cfg, p := behind(t, keyed(t, processConfig(t, 2)), 1)
		p.tamper(func(_ int, _ bool, _ int, unit []byte) ([]byte, bool) {
			time.Sleep(150 * time.Millisecond) // a handshake takes more than keyInterval
			return unit, false
		})
		peer := join(t, 1, cfg)
		cfg.Peers = slices.Clone(cfg.Peers)
		cfg.Peers[1].PreviousPublicKey, cfg.Peers[1].PublicKey = cfg.Peers[1].PublicKey, stranger(t).Public
		reaches(t, join(t, 0, cfg), peer)
	})
}

// afterAStranger lets somebody who does not speak ZMTP answer the first connection to
// server 1, before that starts.
func afterAStranger(t *testing.T, cfg Config) {
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
	n := join(t, 0, cfg)
	put(t, n, &Envelope{1, 0, "x"})
	select {
	case <-greeted:
	case <-time.After(limit):
		t.Error("no connection came")
	}
	l.Close()
	reaches(t, n, join(t, 1, cfg))
}
