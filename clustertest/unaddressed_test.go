package clustertest_test

import (
	"strings"
	"testing"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
)

// What a server drops before it looks for whom it is, such as a message that is too large, is counted for no peer. It
// explains the loss of that message, wherever it was for, and of no other.
func TestAMessageThatWasTooLargeExplainsItsOwnLossAlone(t *testing.T) {
	for _, c := range []struct {
		name   string
		happen func(h *clustertest.History) (dropped uint64)
		want   string // "" if nothing is wrong
	}{
		{"unicasts to several, all of them dropped", func(h *clustertest.History) uint64 {
			tell(h, 1, "dropped", 1)
			tell(h, 2, "dropped", 2)
			return 2
		}, ""},
		{"a broadcast that is dropped is counted once", func(h *clustertest.History) uint64 {
			tell(h, cluster.BROADCAST, "dropped", 1, 2, 3)
			return 1
		}, ""},
		{"a broadcast that is told of once for each receiver", func(h *clustertest.History) uint64 {
			e := &cluster.Envelope{Pid: cluster.BROADCAST, Msg: "dropped"}
			h.Sent(0, e, 1)
			h.Sent(0, e, 2)
			return 1
		}, ""},
		{"unicasts of the same id", func(h *clustertest.History) uint64 {
			h.Sent(0, &cluster.Envelope{Pid: 1, MsgId: 7, Msg: "dropped"})
			e := &cluster.Envelope{Pid: 2, MsgId: 7, Msg: "arrives"}
			h.Sent(0, e)
			take(h, e, 2)
			return 1
		}, ""},
		{"one dropped, and one swallowed on another link", func(h *clustertest.History) uint64 {
			tell(h, 1, "dropped", 1)
			tell(h, 2, "swallowed", 2)
			return 1
		}, "2 messages from 0 did not arrive"},
		{"a broadcast that is dropped, and a swallowed unicast on each link", func(h *clustertest.History) uint64 {
			tell(h, cluster.BROADCAST, "dropped", 1, 2)
			tell(h, 1, "swallowed", 1)
			tell(h, 2, "swallowed", 2)
			return 1
		}, "from 0 to 1, 2 did not arrive"},
		{"a copy of a broadcast is swallowed", func(h *clustertest.History) uint64 {
			take(h, tell(h, cluster.BROADCAST, "for all", 1, 2), 1)
			return 1 // of a message that the test does not tell of
		}, "from 0 to 2, 1 did not arrive"},
		{"fifty dropped for one peer, and fifty swallowed for another", func(h *clustertest.History) uint64 {
			for range 50 {
				tell(h, 1, "dropped", 1)
				tell(h, 2, "swallowed", 2)
			}
			return 50
		}, "100 messages from 0 did not arrive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var h clustertest.History
			dropped := c.happen(&h)
			sender := cluster.Stats{Pid: 0, Incarnation: 1, Unaddressed: cluster.SentStats{
				Accepted: dropped, Dropped: map[cluster.Reason]uint64{cluster.ReasonTooLarge: dropped},
			}}
			for id := 1; id <= 3; id++ {
				sender.Peers = append(sender.Peers, cluster.PeerStats{ID: id})
				h.Explain(cluster.Stats{Pid: id, Incarnation: uint64(id), Peers: []cluster.PeerStats{{ID: 0}}})
			}
			h.Explain(sender)
			err := h.Check()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// tell tells h of a message from 0, which goes to the servers to.
func tell(h *clustertest.History, pid int, msg string, to ...int) *cluster.Envelope {
	e := &cluster.Envelope{Pid: pid, Msg: msg}
	h.Sent(0, e, to...)
	return e
}

// take tells h that a server has received a message of 0.
func take(h *clustertest.History, e *cluster.Envelope, by int) {
	h.Received(by, &cluster.Envelope{Pid: 0, MsgId: e.MsgId, Msg: e.Msg})
}
