package outgoing

import "github.com/abhishekg16/cluster/internal/stream"

// down drops what is queued, since the sender says that the peer is down, and logs why. The caller holds io and mu.
func (l *Link) down(r stream.Reason, attrs ...any) {
	l.note(append([]any{"dropped", l.drop(r)}, attrs...)...)
}

// drop empties the queue, and reports how many messages that cost. A message of which a part has left
// counts as sent. So does what is kept no more then. The caller holds io, since the parcel at hand may be on its way, and mu.
func (l *Link) drop(r stream.Reason) int {
	n := 0
	if p := l.current; p != nil {
		if l.sender.Abandon() {
			l.tearCall(r)
			l.sent()
		} else {
			n += l.release(p)
			l.current = nil
		}
	}
	for !l.queue.empty() {
		n += l.release(l.queue.pop())
	}
	l.settle()
	l.dropWaiters(r)
	l.dropCalls(r, n)
	n += l.urgent.drop()
	l.books.Dropped[r] += uint64(n)
	l.wakeSenders()
	return n
}

// release lets go of a parcel that is not written, and reports how many messages it has.
func (l *Link) release(p *parcel) int {
	n := p.count
	l.queue.release(p.size(), n)
	p.free()
	return n
}
