package cluster

import (
	"runtime"
	"time"

	"github.com/abhishekg16/cluster/internal/outgoing"
	"github.com/abhishekg16/cluster/internal/stream"
)

// pump is the goroutine that takes envelopes from Outbox, one after the other,
// so that their order is kept.
func (n *Node) pump(enc *encoder) {
	ended := false
	defer func() {
		if !ended {
			// A method of the program's that encodes has ended the goroutine. Its message is gone,
			// and the rest goes on.
			go n.pump(enc) // As the one before it.
		}
	}()
	n.dropUnfinished(enc)
	n.pumpOpen(enc)
	ended = true
	close(n.pumped)
	n.drain()
	close(n.deserted)
}

// pumpOpen sends what is put into Outbox until closing begins, and then what the
// channel held at that moment: that had been accepted.
func (n *Node) pumpOpen(enc *encoder) {
	w := &outgoing.Waiting{ForRoom: true, Stop: n.cut, Then: stream.Closed}
	n.flush(enc, w)
	for dense := false; ; {
		env, ok := n.next(dense)
		if !ok {
			break
		}
		dense = n.forward(enc, env, w)
	}
	<-n.closing
	for left := len(n.outbox); left > 0 && !n.isCut(); left-- {
		select {
		case env, ok := <-n.outbox:
			if ok {
				n.add(enc, env, w)
			}
		default: // the program has taken one back
		}
	}
	n.flush(enc, w)
}

// isCut reports whether a Shutdown has waited long enough.
func (n *Node) isCut() bool {
	select {
	case <-n.cut:
		return true
	default:
		return false
	}
}

const (
	// turnTime is how long forward takes envelopes before it hands over what it has, without
	// the time for which it lets others run.
	turnTime = time.Millisecond
	// Where traffic goes to spreadLeast servers or more, each frame carries little: then
	// forward lets others run spreadTurns times, who may be about to send more. It does
	// so only if there was more than one message for each: on a busy machine that may take
	// longer than a lone message should wait.
	spreadLeast = 8
	spreadTurns = 3
)

// forward sends an envelope, and those behind it in Outbox, until they are enough. It
// reports whether there were any behind it.
func (n *Node) forward(enc *encoder, env *Envelope, w *outgoing.Waiting) (dense bool) {
	defer n.flush(enc, w)
	turns := 0
	var began time.Time
	n.add(enc, env, w)
	for count := 1; !enc.full; {
		if count > 1 && (count&(count-1) == 0 || count%64 == 0) {
			// Encoding may be slow: it may be the program's.
			switch now := time.Now(); {
			case began.IsZero():
				began = now
			case now.Sub(began) >= turnTime:
				return true
			}
		}
		select {
		case env, ok := <-n.outbox:
			if !ok {
				return false
			}
			n.add(enc, env, w)
			count++
			dense = true
		default:
			if len(enc.open) < spreadLeast || enc.count < 2*len(enc.open) || turns == spreadTurns {
				return dense
			}
			turns++
			away := time.Now()
			runtime.Gosched()
			began = began.Add(time.Since(away))
		}
	}
	return true
}

// next takes an envelope from Outbox. It reports false when that is closed, or
// closing begins.
func (n *Node) next(dense bool) (env *Envelope, ok bool) {
	// While traffic is dense, receiving from one channel costs a fraction of
	// choosing between two; and a goroutine that parks has to be woken, so others
	// are let run first, who may be about to send.
	for range gatherTurns {
		if !dense {
			break
		}
		select {
		case <-n.closing:
			return nil, false
		default:
		}
		select {
		case env, ok = <-n.outbox:
			return env, ok
		default:
			runtime.Gosched()
		}
	}
	select {
	case env, ok = <-n.outbox:
		return env, ok
	case <-n.closing:
		return nil, false
	}
}

// gatherTurns is how often pump lets others run before it waits for an envelope.
const gatherTurns = 2

// drainTime is how long the last of closing may take for senders that never stop.
const drainTime = 100 * time.Millisecond

// drain takes from Outbox without sending, so that nobody who is blocked on it
// while the node closes stays so.
func (n *Node) drain() {
	for {
		select {
		case _, ok := <-n.outbox:
			if !ok {
				return
			}
			n.drop(ReasonClosed, 1)
			continue
		case <-n.drained:
		}
		break
	}
	count := 0
	defer func() { n.drop(ReasonClosed, count) }()
	for end := time.Now().Add(drainTime); count < cap(n.outbox) || time.Now().Before(end); {
		select {
		case _, ok := <-n.outbox:
			if !ok {
				return
			}
			count++
		default:
			return
		}
	}
}
