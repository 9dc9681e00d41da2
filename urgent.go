package cluster

import (
	"context"

	"github.com/abhishekg16/cluster/internal/outgoing"
	"github.com/abhishekg16/cluster/internal/stream"
)

// urgentBytes is the most that an urgent message takes once it is encoded.
const urgentBytes = stream.UrgentBytes

// SendUrgent sends an envelope like Send, but by a second stream to each peer, whose
// messages do not wait for those of the other, though both have one connection: a
// heartbeat goes before a large message that is being sent, between two of its pieces.
// The message may take 131,072 bytes once encoded, or it is ErrTooLarge.
//
// Messages that one goroutine passes to SendUrgent keep their order. Between them
// and those of Send, Deliver and Outbox there is none. All else is as with Send: what was written is
// sent again if a connection breaks, nothing comes twice, Stats counts both together, and
// a message is dropped when the link is down or the peer takes nothing of its stream for SendTimeout.
// Urgent messages come by Inbox like all others: where the program does not take, they wait.
// 256 KiB of them wait for each peer at most, and as many may be on their way; then
// SendUrgent blocks, until ctx ends.
//
// A peer of an earlier version has no such stream, and in the first moments it is not known
// whether a peer has. Then the message goes by the ordinary stream, behind what waits there: a
// program may use SendUrgent while a cluster is upgraded server by server. A message that was sent so may
// arrive after the next one, which was not. So the order of urgent messages holds from the
// first that the peer's stream carries, as long as the peer neither begins anew, nor is down or stalled,
// nor says nothing for so long that what was written counts as unconfirmed: then it has to announce its stream again.
func (n *Node) SendUrgent(ctx context.Context, env *Envelope) error {
	select {
	case <-n.closing:
		return n.drop(ReasonClosed, 1)
	default:
	}
	return n.send(ctx, env, &outgoing.Waiting{ForRoom: true, Stop: ctx.Done(), Then: stream.TimedOut, Urgent: true}, nil)
}
