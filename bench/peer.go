package main

// A peer is one way to pass messages, as a program would use it.
type peer struct {
	name string
	base string // the peer that its ratios are to
	// join makes the server me of those that listen at the addresses.
	join func(me int, at []string) end
	// oneProcess is set where messages cannot leave the process.
	oneProcess bool
}

// An end is one server's. One goroutine at a time sends, and one receives. What was
// sent is not changed afterwards, and what was received belongs to the receiver.
type end struct {
	// send and receive carry bytes. They are nil where values can be sent as they are.
	send    func(to int, b []byte)
	receive func() []byte

	sendValue    func(to int, v any)
	receiveValue func() any

	// flush makes leave what waits for more to be sent; nil: nothing does.
	flush func()
	// broadcast sends to all others; nil: a loop does.
	broadcast func(b []byte)
	// lost counts messages that were sent by this end, or to it, and will not
	// arrive, by reason; nil: unknown.
	lost func() map[string]uint64
}

// peers are those that take part, each in a file of its own.
var peers = []peer{
	bare, channels, direct, channelsOnGo, directOnGo, bareCurve, keyed, keyedOnGo, goChannel, tcp, goZeroMQ, natsPeer, grpcPeer, memberlistPeer,
}

func peerNamed(name string) peer {
	for _, p := range peers {
		if p.name == name {
			return p
		}
	}
	panic("no peer is named " + name)
}

func (e end) flushed() {
	if e.flush != nil {
		e.flush()
	}
}
