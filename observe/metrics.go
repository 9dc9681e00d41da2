package observe

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/abhishekg16/cluster"
)

// Collector returns the metrics of node, which Handler serves at /metrics, for a registry of the program's own. Each time they
// are collected it asks Node.Stats, once. All have the label "server" with the id of the node, so that several may be in
// one registry; other labels are ids of peers and the names of reasons and states. Each reason has its counter from the
// start, at 0.
func Collector(node *cluster.Node) prometheus.Collector { return newCollector(node) }

type collector struct {
	node  *cluster.Node
	peer  []peerMetric
	whole []nodeMetric

	dropped, refused, state, info *prometheus.Desc
}

// A peerMetric is a number that PeerStats has. The peer "none" stands for what was for no peer.
type peerMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(cluster.PeerStats) float64
}

// A nodeMetric is a number that Report has.
type nodeMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(Report) float64
}

// nobody is the peer of what was for, or came from, no peer.
const nobody = "none"

func newCollector(node *cluster.Node) *collector {
	server := prometheus.Labels{"server": strconv.Itoa(node.Pid())}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("cluster_"+name, help, labels, server)
	}
	c := &collector{
		node:    node,
		dropped: desc("messages_dropped_total", "Messages for the peer that were dropped, by reason.", "peer", "reason"),
		refused: desc("messages_refused_total", "Messages, frames and connections of the peer that were refused, by reason.", "peer", "reason"),
		state:   desc("link_state", "1 for the state that the link to the peer has, 0 for the others.", "peer", "state"),
		info:    desc("node_info", "1, with the transport that the node has.", "transport"),
	}
	peer := func(kind prometheus.ValueType, name, help string, value func(cluster.PeerStats) float64) {
		c.peer = append(c.peer, peerMetric{desc(name, help, "peer"), kind, value})
	}
	whole := func(kind prometheus.ValueType, name, help string, value func(Report) float64) {
		c.whole = append(c.whole, nodeMetric{desc(name, help), kind, value})
	}
	describePeers(peer)
	describeNode(whole)
	return c
}

// describePeers lists the numbers about a peer.
func describePeers(add func(prometheus.ValueType, string, string, func(cluster.PeerStats) float64)) {
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	type p = cluster.PeerStats
	add(counter, "messages_accepted_total", "Messages for the peer that were taken from Outbox, or given to Send, SendUrgent, Deliver, StartDelivery, Call or Reply.", func(s p) float64 { return float64(s.Sent.Accepted) })
	add(counter, "messages_sent_total", "Messages written to the peer.", func(s p) float64 { return float64(s.Sent.Sent) })
	add(counter, "messages_confirmed_total", "Messages that the peer is done with: it has put them into Inbox, or refused them.", func(s p) float64 { return float64(s.Sent.Confirmed) })
	add(counter, "messages_unconfirmed_total", "Messages that were written and may have arrived or not.", func(s p) float64 { return float64(s.Sent.Unconfirmed) })
	add(counter, "frames_resent_total", "Frames that were written to the peer again.", func(s p) float64 { return float64(s.Sent.Resent) })
	add(counter, "sent_bytes_total", "Bytes of the messages written to the peer.", func(s p) float64 { return float64(s.Sent.Bytes) })
	add(gauge, "queue_messages", "Messages that wait to be written to the peer.", func(s p) float64 { return float64(s.Sent.Queued) })
	add(gauge, "queue_bytes", "Bytes of the messages that wait to be written to the peer.", func(s p) float64 { return float64(s.Sent.QueueBytes) })
	add(gauge, "unacknowledged_bytes", "Bytes that are written to the peer and not acknowledged.", func(s p) float64 { return float64(s.Sent.FlightBytes) })
	add(gauge, "link_round_trip_seconds", "How long the peer takes to answer, with the way there and back; 0: not measured yet.", func(s p) float64 { return s.RoundTrip.Seconds() })
	add(gauge, "link_acknowledged_timestamp_seconds", "When the peer last acknowledged something, or answered when it was asked, as a Unix time; 0: not yet.", func(s p) float64 { return unixSeconds(s.LastAcknowledged) })
	add(gauge, "link_heard_timestamp_seconds", "When anything last came from the peer, as a Unix time; 0: not yet.", func(s p) float64 { return unixSeconds(s.LastHeard) })
	add(counter, "messages_received_total", "Messages of the peer that were put into Inbox, or given to the call that waited.", func(s p) float64 { return float64(s.Received.Received) })
	add(counter, "received_bytes_total", "Bytes of the payloads of these messages.", func(s p) float64 { return float64(s.Received.Bytes) })
	add(counter, "messages_lost_total", "Messages of the peer that never came.", func(s p) float64 { return float64(s.Received.Lost) })
	add(counter, "messages_missed_total", "Messages that the peer had numbered before the first that came.", func(s p) float64 { return float64(s.Received.Missed) })
	add(counter, "frames_repeated_total", "Frames of the peer that had come before, and are without effect.", func(s p) float64 { return float64(s.Received.Repeated) })
	add(counter, "peer_restarts_total", "Times that the peer was seen to have started anew.", func(s p) float64 { return float64(s.Received.Restarts) })
	add(gauge, "backlog_bytes", "Bytes of the peer's frames that wait for room in Inbox.", func(s p) float64 { return float64(s.Received.BacklogBytes) })
	add(gauge, "held_bytes", "Bytes of the peer's frames that came before others that are missing.", func(s p) float64 { return float64(s.Received.HeldBytes) })
	add(gauge, "link_state_timestamp_seconds", "Since when the link has its state, as a Unix time; 0: nothing was sent yet.", func(s p) float64 { return unixSeconds(s.Since) })
}

// unixSeconds is a Unix time; 0 for none.
func unixSeconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMicro()) / 1e6
}

// describeNode lists the numbers about the node as a whole.
func describeNode(add func(prometheus.ValueType, string, string, func(Report) float64)) {
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	add(gauge, "outbox_messages", "Envelopes in Outbox.", func(r Report) float64 { return float64(r.Stats.OutboxLen) })
	add(gauge, "outbox_limit_messages", "Envelopes that Outbox holds at most.", func(r Report) float64 { return float64(r.OutboxSize) })
	add(gauge, "inbox_messages", "Envelopes in Inbox.", func(r Report) float64 { return float64(r.Stats.InboxLen) })
	add(gauge, "inbox_limit_messages", "Envelopes that Inbox holds at most.", func(r Report) float64 { return float64(r.InboxSize) })
	add(gauge, "queue_limit_bytes", "Bytes that wait for each peer at most.", func(r Report) float64 { return float64(r.Stats.QueueBytes) })
	add(gauge, "members", "Servers in the catalogue, this one and observers included.", func(r Report) float64 { return float64(len(r.Members)) })
	add(counter, "reloads_total", "Changed configurations that have taken effect.", func(r Report) float64 { return float64(r.Stats.Reload.Generation) })
	add(gauge, "reload_failed", "1 if a changed configuration is not in effect.", func(r Report) float64 {
		if r.Stats.Reload.Error != "" {
			return 1
		}
		return 0
	})
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, m := range c.peer {
		to <- m.desc
	}
	for _, m := range c.whole {
		to <- m.desc
	}
	for _, d := range []*prometheus.Desc{c.dropped, c.refused, c.state, c.info} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	r := reportOf(c.node)
	for _, m := range c.whole {
		to <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(r))
	}
	to <- prometheus.MustNewConstMetric(c.info, prometheus.GaugeValue, 1, r.Stats.Transport)
	for _, p := range r.Stats.Peers {
		id := strconv.Itoa(p.ID)
		for _, m := range c.peer {
			to <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(p), id)
		}
		for _, s := range cluster.AllLinkStates() {
			is := 0.0
			if s == p.State {
				is = 1
			}
			to <- prometheus.MustNewConstMetric(c.state, prometheus.GaugeValue, is, id, s.String())
		}
		c.reasons(to, id, p.Sent.Dropped, p.Received.Refused)
	}
	c.reasons(to, nobody, r.Stats.Unaddressed.Dropped, r.Stats.Refused)
}

// reasons are the counters of what was dropped and refused, each reason among them.
func (c *collector) reasons(to chan<- prometheus.Metric, peer string, dropped map[cluster.Reason]uint64, refused map[cluster.Refusal]uint64) {
	for _, r := range cluster.AllReasons() {
		to <- prometheus.MustNewConstMetric(c.dropped, prometheus.CounterValue, float64(dropped[r]), peer, r.String())
	}
	for _, r := range cluster.AllRefusals() {
		to <- prometheus.MustNewConstMetric(c.refused, prometheus.CounterValue, float64(refused[r]), peer, r.String())
	}
}
