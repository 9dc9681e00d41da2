package cluster

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"time"
)

// pump is the goroutine that takes envelopes from Outbox, one after the other,
// so that their order is kept.
func (n *Node) pump() {
	n.pumpOpen()
	close(n.pumped)
	n.letGo()
	close(n.deserted)
}

// pumpOpen sends what is put into Outbox until closing begins, and then what the
// channel held at that moment: that had been accepted.
func (n *Node) pumpOpen() {
	var enc encoder
	p := patient{wait: true, stop: n.cut, then: ReasonClosed}
	for dense := false; ; {
		env, ok := n.next(dense)
		if !ok {
			break
		}
		dense = n.forward(&enc, env, p)
	}
	<-n.closing
	for left := len(n.outbox); left > 0 && !n.isCut(); left-- {
		select {
		case env, ok := <-n.outbox:
			if ok {
				n.add(&enc, env, p)
			}
		default: // the program has taken one back
		}
	}
	n.flush(&enc, p)
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
func (n *Node) forward(enc *encoder, env *Envelope, p patient) (dense bool) {
	defer n.flush(enc, p)
	turns := 0
	var began time.Time
	n.add(enc, env, p)
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
			n.add(enc, env, p)
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

// letGoTime is how long the last of closing may take for senders that never stop.
const letGoTime = 100 * time.Millisecond

// letGo takes from Outbox without sending, so that nobody who is blocked on it
// while the node closes stays so.
func (n *Node) letGo() {
	for {
		select {
		case _, ok := <-n.outbox:
			if !ok {
				return
			}
			n.unsent(ReasonClosed, 1)
			continue
		case <-n.drained:
		}
		break
	}
	count := 0
	defer func() { n.unsent(ReasonClosed, count) }()
	for end := time.Now().Add(letGoTime); count < cap(n.outbox) || time.Now().Before(end); {
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

// Send sends an envelope like one that is put into Outbox, and tells the
// outcome: nil means that it was accepted for the wire, which it will be written
// to unless the peer is found to take nothing for SendTimeout. Otherwise the
// error says why it was dropped (ErrUnknownPeer, ErrUnreachable, ErrTimedOut,
// ErrTooLarge, ErrNotEncodable or ErrClosed, or that of ctx) and, if it had
// several destinations, for which of them.
//
// Send blocks while the queue of the peer is full, until ctx ends. It may be
// called from any number of goroutines. Messages that one goroutine passes to
// Send keep their order; between Send and Outbox there is none.
func (n *Node) Send(ctx context.Context, env *Envelope) error {
	select {
	case <-n.closing:
		return n.unsent(ReasonClosed, 1)
	default:
	}
	if err := ctx.Err(); err != nil {
		n.unsent(ReasonTimedOut, 1)
		return err
	}
	enc, _ := n.encoders.Get().(*encoder)
	if enc == nil {
		enc = new(encoder)
	}
	err := n.send(enc, env, patient{wait: true, stop: ctx.Done(), then: ReasonTimedOut})
	n.encoders.Put(enc)
	if err != nil && errors.Is(err, ErrTimedOut) && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

// send gives one envelope to the links of all its destinations, which may wait
// for room as p says. It returns what went wrong.
func (n *Node) send(enc *encoder, env *Envelope, p patient) error {
	err := n.add(enc, env, p)
	return errors.Join(err, n.flush(enc, p))
}

// add encodes an envelope into the run that goes where it goes. Runs that may not wait
// for that are flushed before.
func (n *Node) add(enc *encoder, env *Envelope, p patient) error {
	if env == nil {
		return n.unsent(ReasonNotEncodable, 1)
	}
	if enc.full || !enc.current(n) {
		n.flush(enc, p)
	}
	out := enc.toward(env.Pid)
	if out == nil {
		// Of two runs that reach the same server, the first must be put first.
		if enc.shared || env.Pid < 0 {
			n.flush(enc, p)
		}
		var err error
		if out, err = enc.begin(n, env.Pid); err != nil {
			n.unsent(ReasonUnknownPeer, 1, "to", env.Pid)
			return err
		}
	}
	if len(out.to) == 0 {
		return nil
	}
	id := env.MsgId
	if id == 0 {
		id = enc.nextID(n)
	}
	reason, err := enc.encode(out, id, env.Msg, n.cfg.MaxMessageBytes)
	if err != nil {
		n.unsendable(reason, env, err)
	}
	return err
}

// flush puts the runs into the queues of their destinations: first where there is room,
// so that a peer that is behind keeps nothing from the others. It leaves them empty, and
// returns what went wrong.
func (n *Node) flush(enc *encoder, p patient) error {
	if len(enc.open) == 0 {
		return nil
	}
	defer enc.close(n)
	p.wait = p.wait && n.cfg.SendTimeout >= 0
	if len(enc.open) == 1 && len(enc.open[0].to) == 1 {
		return n.flushOne(enc, enc.open[0], p)
	}
	return n.flushAll(enc, p)
}

// flushOne puts a run into the queue of its only destination.
func (n *Node) flushOne(enc *encoder, out *outgoing, p patient) error {
	if out.count == 0 {
		return nil
	}
	l, err := n.toward(enc, out.to[0], out.count)
	if l != nil {
		p.give = true
		err = failure(l.id, l.put(&out.run, p))
	}
	return err
}

// toward is the link to a server. Where there is none, it counts the messages for it, and
// returns why.
func (n *Node) toward(enc *encoder, pid, messages int) (*link, error) {
	l, reason := enc.link(n, pid)
	if l == nil {
		n.unsent(reason, messages, "to", pid)
		return nil, failure(pid, reason)
	}
	return l, nil
}

// failure is the error for messages to a server that were dropped for a reason; nil for 0.
func failure(pid int, reason Reason) error {
	if reason == 0 {
		return nil
	}
	return fmt.Errorf("peer %d: %w", pid, reason.err())
}

func (n *Node) flushAll(enc *encoder, p patient) error {
	try := p
	try.leave = p.wait
	var failed error
	var waiting []*link
	var rests []run
	for _, out := range enc.open {
		before := len(waiting)
		for i, pid := range out.to {
			if out.count == 0 {
				break
			}
			l, err := n.toward(enc, pid, out.count)
			if l == nil {
				failed = errors.Join(failed, err)
				continue
			}
			try.give = i == len(out.to)-1 && len(waiting) == before // nobody else needs it
			rest := out.run
			failed = errors.Join(failed, failure(pid, l.put(&rest, try)))
			if rest.count > 0 {
				waiting, rests = append(waiting, l), append(rests, rest)
			} else if try.give {
				out.run = rest // with another buffer, perhaps
			}
		}
	}
	for i, l := range waiting {
		failed = errors.Join(failed, failure(l.id, l.put(&rests[i], p)))
	}
	return failed
}

// unsent counts messages that got as far as no link, and returns the error for
// them. Each reason is logged once, with attrs.
func (n *Node) unsent(r Reason, count int, attrs ...any) error {
	n.mu.Lock()
	first := n.unaddressed.dropped[r] == 0
	n.unaddressed.refuse(r, count)
	n.mu.Unlock()
	if first && r != ReasonClosed {
		n.log.Warn("cluster: dropped a message; more of the kind are only counted", append([]any{"reason", r.String()}, attrs...)...)
	}
	return r.err()
}

// unsendable counts a message that cannot be encoded, or is too large. Each type is
// logged once, up to unsendableMost of them.
func (n *Node) unsendable(r Reason, env *Envelope, err error) {
	n.mu.Lock()
	n.unaddressed.refuse(r, 1)
	typ := unsendable{r, reflect.TypeOf(env.Msg)}
	first := !n.unsendables[typ] && len(n.unsendables) < unsendableMost
	if first {
		n.unsendables[typ] = true
	}
	n.mu.Unlock()
	if first {
		n.log.Warn("cluster: dropped a message; more of this type are only counted", "reason", r.String(), "to", env.Pid, "error", err)
	}
}

type unsendable struct {
	reason Reason
	typ    reflect.Type
}

const unsendableMost = 64
