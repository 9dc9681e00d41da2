//go:build unix

package scenario

import (
	"slices"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/wire"
)

// shutOut is how long a connection is watched that must not be made.
const shutOut = 300 * time.Millisecond

func TestWhoHasNoListedKeyIsNotLetIn(t *testing.T) {
	t.Parallel() // it waits more than it works
	for _, c := range []struct {
		name   string
		as     func(s *siege) *transport.Security
		reason cluster.Refusal
		claims bool // another public key than that of its secret one
	}{
		{"no key", func(*siege) *transport.Security { return nil }, cluster.RefusedHandshake, false},
		{"an unlisted key", func(s *siege) *transport.Security { return testcluster.Stranger(s.t) }, cluster.RefusedKey, false},
		{"a listed public key without its secret", func(s *siege) *transport.Security {
			return &transport.Security{Public: s.key(capturedPid).Public, Secret: testcluster.Stranger(s.t).Secret}
		}, cluster.RefusedHandshake, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.claims && !attackersClaimKeys {
				t.Skip("this needs libzmq")
			}
			s := besiege(t)
			conn := s.dial(c.as(s))
			if push(t, conn, s.frame(s.header(), "forged"), shutOut) {
				t.Error("a frame was taken")
			}
			s.refuses(nobody, c.reason)
			if s.delivered() > 0 {
				t.Error("a message was delivered")
			}
			s.lifted()
		})
	}
}

func TestAListedKeyIsGoodForItsOwnIdAlone(t *testing.T) {
	for _, c := range []struct {
		name   string
		key    int
		spoil  func(h *wire.Header)
		reason cluster.Refusal
	}{
		{"another's id", capturedPid, func(h *wire.Header) { h.From = loyalPid }, cluster.RefusedIdentity},
		{"the receiver's own id", capturedPid, func(h *wire.Header) { h.From = siegedPid }, cluster.RefusedIdentity},
		{"an id that nobody has", capturedPid, func(h *wire.Header) { h.From = 77 }, cluster.RefusedIdentity},
		{"the receiver's own id, and key", siegedPid, func(h *wire.Header) { h.From = siegedPid }, cluster.RefusedIncarnation},
		{"another cluster's name", capturedPid, func(h *wire.Header) { h.Cluster = wire.ClusterHash("another") }, cluster.RefusedCluster},
		{"another's id in another cluster", capturedPid, func(h *wire.Header) { h.From, h.Cluster = loyalPid, 1 }, cluster.RefusedIdentity},
		{"a frame for another", capturedPid, func(h *wire.Header) { h.To = loyalPid }, cluster.RefusedDestination},
		{"a malformed frame", capturedPid, func(h *wire.Header) { h.Incarnation = 0 }, cluster.RefusedMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := besiege(t)
			conn := s.dial(s.key(c.key))
			h := s.header()
			c.spoil(&h)
			if !push(t, conn, s.frame(h, "forged"), testcluster.Limit) {
				t.Fatal("the owner of a listed key was not let in")
			}
			s.refuses(c.key, c.reason)
			if c.key == capturedPid {
				// The connection is as good as before for what its key may say.
				if !push(t, conn, s.frame(s.header(), "true"), testcluster.Limit) {
					t.Fatal("the connection is gone")
				}
				testcluster.Eventually(t, "the message with its own id", func() bool { return s.delivered() == 1 })
			}
			s.refuses(c.key, c.reason)
			s.lifted()
		})
	}
}

func TestMalformedMessagesAreCountedAgainstTheOwnerOfTheKey(t *testing.T) {
	s := besiege(t)
	conn := s.dial(s.key(capturedPid))
	if !push(t, conn, []byte{wire.Version + 1}, testcluster.Limit) {
		t.Fatal("the owner of a listed key was not let in")
	}
	s.refuses(capturedPid, cluster.RefusedVersion)
	s.lifted()
}

func TestAServerWithoutKeysDoesNotReachOneWithKeys(t *testing.T) {
	t.Parallel() // it waits more than it works
	s := besiege(t)
	plain := s.cfg
	plain.Peers = slices.Clone(plain.Peers)
	for i := range plain.Peers {
		plain.Peers[i].PublicKey = ""
	}
	n := testcluster.Join(t, capturedPid, plain)
	testcluster.Put(t, n, &cluster.Envelope{Pid: siegedPid, Msg: "in the clear"})
	testcluster.Put(t, n, &cluster.Envelope{Pid: cluster.BROADCAST, Msg: "in the clear"})
	testcluster.Eventually(t, "its messages are dropped", func() bool { return testcluster.StatsOf(n, siegedPid).Sent.DroppedTotal() == 2 })
	if s.delivered() > 0 {
		t.Error("a message was delivered")
	}
	// Nor does anything get from the one with keys to it.
	testcluster.Put(t, s.server, &cluster.Envelope{Pid: capturedPid, Msg: "secret"})
	testcluster.Eventually(t, "the message for it is dropped", func() bool { return testcluster.StatsOf(s.server, capturedPid).Sent.DroppedTotal() == 1 })
	for _, server := range []*cluster.Node{n, s.server} {
		testcluster.Eventually(t, "the refusal of the other's connection", func() bool { return server.Stats().Refused[cluster.RefusedHandshake] > 0 })
	}
	if got := n.Stats().Received; got.Received > 0 || len(framesRefused(got.Refused)) > 0 {
		t.Errorf("received %d, refused %v, want nothing to come", got.Received, got.Refused)
	}
	s.lifted()
}

func TestNothingIsSentToAListedServerAtTheAddressOfAnother(t *testing.T) {
	t.Parallel() // it waits more than it works
	cfg := testcluster.Keyed(t, testcluster.ProcessConfig(t, 4))
	s := besiegeAt(t, cfg)
	captured := testcluster.Join(t, capturedPid, cfg)
	swapped := cfg
	swapped.Peers = slices.Clone(cfg.Peers)
	swapped.Peers[loyalPid].Address, swapped.Peers[capturedPid].Address = cfg.Peers[capturedPid].Address, cfg.Peers[loyalPid].Address
	sender := testcluster.Join(t, 3, swapped)
	for _, id := range []int{loyalPid, capturedPid} {
		testcluster.Put(t, sender, &cluster.Envelope{Pid: id, Msg: "for whom it is addressed to"})
	}
	for _, id := range []int{loyalPid, capturedPid} {
		testcluster.Eventually(t, "its messages are dropped", func() bool { return testcluster.StatsOf(sender, id).Sent.DroppedTotal() == 1 })
	}
	// A frame for another server would be counted.
	for _, n := range []*cluster.Node{captured, s.loyal} {
		if r := n.Stats().Received; r.Received > 0 || len(framesRefused(r.Refused)) > 0 {
			t.Errorf("server %d received %d and refused %v, want nothing to come", n.Pid(), r.Received, r.Refused)
		}
	}
	s.lifted()
}

func TestARemovedPeersKeyIsGoodForNothing(t *testing.T) {
	t.Parallel() // it waits more than it works
	s := besiege(t)
	n := testcluster.Join(t, capturedPid, s.cfg)
	send := func(msg string) { t.Helper(); testcluster.Put(t, n, &cluster.Envelope{Pid: siegedPid, Msg: msg}) }
	send("listed")
	testcluster.Eventually(t, "a message while it is listed", func() bool { return s.delivered() == 1 })

	// The connection stands when the peer is removed.
	was, _ := s.server.Catalog().Get(capturedPid)
	s.server.Catalog().Remove(capturedPid)
	send("removed")
	s.refuses(nobody, cluster.RefusedKey)

	// With another key it is another server for us, and the old one stays out.
	other := was
	other.PublicKey = testcluster.Stranger(t).Public
	if err := s.server.Catalog().Put(other); err != nil {
		t.Fatal(err)
	}
	before := s.server.Stats().Refused[cluster.RefusedKey]
	send("listed with another key")
	testcluster.Eventually(t, "another refusal", func() bool { return s.server.Stats().Refused[cluster.RefusedKey] > before })
	if got := s.delivered(); got != 1 {
		t.Errorf("%d messages were delivered, want the first alone", got)
	}

	// On a new connection it is refused before it can send.
	n.Close()
	conn := s.dial(s.key(capturedPid))
	if push(t, conn, s.frame(s.header(), "removed"), shutOut) {
		t.Error("the owner of a removed key was let in")
	}

	// And with its own key again it is back, as soon as it tries again.
	if err := s.server.Catalog().Put(was); err != nil {
		t.Fatal(err)
	}
	if !push(t, conn, s.frame(s.header(), "listed again"), testcluster.Limit) {
		t.Error("the owner of a key that is listed again was not let in")
	}
	testcluster.Eventually(t, "a message when it is listed again", func() bool { return s.delivered() == 2 })
	s.refuses(nobody, cluster.RefusedKey)
	s.lifted()
}
