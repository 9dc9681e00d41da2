package observe

import (
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/quantity"
)

// A linkView is what the columns of the table of links are made from.
type linkView struct {
	now, before cluster.PeerStats
	at          time.Time
	apart       time.Duration // between now and before; 0: there is none before
	bound       int           // of the queue, in bytes
}

// A column is one of the table of links.
type column struct {
	key     string
	Head    string
	About   string // what it means
	Numeric bool
	value   func(l linkView) (text, class string)
	meter   func(l linkView) (used, size int) // nil: it has none
}

// columns are those of the table of links. What Stats says of a link has its place here.
var columns = []column{
	{key: "state", Head: "link", About: "whether the peer answers, and takes what is sent to it",
		value: func(l linkView) (string, string) { return stateWord(l.now.State), stateClass(l.now.State) }},
	{key: "since", Head: "since", About: "for how long the link has had this state", Numeric: true,
		value: func(l linkView) (string, string) {
			if l.now.Since.IsZero() {
				return quantity.None, ""
			}
			return quantity.Ago(steadyAge(l.at.Sub(l.now.Since))), ""
		}},
	{key: "out", Head: "sent", About: "messages written to the peer", Numeric: true,
		value: func(l linkView) (string, string) { return l.rate(sent).String(), "" }},
	{key: "outb", Head: "bytes out", About: "of these messages", Numeric: true,
		value: func(l linkView) (string, string) { return l.rate(sentBytes).Bytes(), "" }},
	{key: "in", Head: "received", About: "messages of the peer put into Inbox, or given to the call that waited", Numeric: true,
		value: func(l linkView) (string, string) { return l.rate(received).String(), "" }},
	{key: "inb", Head: "bytes in", About: "of these messages", Numeric: true,
		value: func(l linkView) (string, string) { return l.rate(receivedBytes).Bytes(), "" }},
	{key: "queue", Head: "queue", About: "what waits to be written, of queueBytes", Numeric: true,
		value: func(l linkView) (string, string) { return quantity.Size(float64(l.now.Sent.QueueBytes)), "" },
		meter: func(l linkView) (int, int) { return l.now.Sent.QueueBytes, l.bound }},
	{key: "flight", Head: "on its way", About: "what is written and not acknowledged", Numeric: true,
		value: func(l linkView) (string, string) { return quantity.Size(float64(l.now.Sent.FlightBytes)), "" }},
	{key: "rtt", Head: "round trip", About: "about how long the peer takes to answer, with the way there and back", Numeric: true,
		value: func(l linkView) (string, string) { return quantity.RoundTrip(l.now.RoundTrip), "" }},
	{key: "backlog", Head: "waits here", About: "what has come and waits for room in Inbox, or for what is missing before it", Numeric: true,
		value: func(l linkView) (string, string) {
			return quantity.Size(float64(l.now.Received.BacklogBytes + l.now.Received.HeldBytes)), ""
		}},
	{key: "dropped", Head: "dropped", About: "messages for the peer that were dropped", Numeric: true,
		value: func(l linkView) (string, string) { return l.total(dropped) }},
	{key: "unconfirmed", Head: "unconfirmed", About: "messages that were written to the peer and may have arrived or not", Numeric: true,
		value: func(l linkView) (string, string) { return l.total(unconfirmed) }},
	{key: "resent", Head: "resent", About: "frames that were written to the peer again, since they may have been lost", Numeric: true,
		value: func(l linkView) (string, string) { return quantity.Count(l.now.Sent.Resent), "" }},
	{key: "refused", Head: "refused", About: "what came from the peer and was refused", Numeric: true,
		value: func(l linkView) (string, string) { return l.total(refused) }},
	{key: "lost", Head: "lost", About: "messages of the peer that never came", Numeric: true,
		value: func(l linkView) (string, string) { return l.total(lost) }},
	{key: "restarts", Head: "restarts", About: "times that the peer was seen to have started anew", Numeric: true,
		value: func(l linkView) (string, string) { return quantity.Count(l.now.Received.Restarts), "" }},
	{key: "why", Head: "trouble", About: "why the peer does not answer, as far as that is known",
		value: func(l linkView) (string, string) { return l.now.Trouble, "" }},
}

func sent(p cluster.PeerStats) uint64          { return p.Sent.Sent }
func sentBytes(p cluster.PeerStats) uint64     { return p.Sent.Bytes }
func received(p cluster.PeerStats) uint64      { return p.Received.Received }
func receivedBytes(p cluster.PeerStats) uint64 { return p.Received.Bytes }
func dropped(p cluster.PeerStats) uint64       { return p.Sent.DroppedTotal() }
func unconfirmed(p cluster.PeerStats) uint64   { return p.Sent.Unconfirmed }
func refused(p cluster.PeerStats) uint64       { return p.Received.RefusedTotal() }
func lost(p cluster.PeerStats) uint64          { return p.Received.Lost }

func (l linkView) rate(of func(cluster.PeerStats) uint64) quantity.Rate {
	return quantity.RateOf(of(l.before), of(l.now), l.apart)
}

// total is a counter, which stands out while it grows.
func (l linkView) total(of func(cluster.PeerStats) uint64) (text, class string) {
	return quantity.Count(of(l.now)), classIf(l.apart > 0 && of(l.now) > of(l.before), "lost")
}
