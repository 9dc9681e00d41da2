package cluster

import (
	"context"
	"fmt"

	"github.com/abhishekg16/cluster/internal/outgoing"
	"github.com/abhishekg16/cluster/internal/stream"
)

// Close is Shutdown with the time limit of Config.Linger.
func (n *Node) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), max(0, n.cfg.Linger))
	defer cancel()
	err := n.shutdown(ctx)
	if err != nil && n.cfg.Linger >= 0 {
		return fmt.Errorf("cluster: closing took longer than linger (%v), and what was not sent by then was dropped: %w", n.cfg.Linger, err)
	}
	return n.failed()
}

// Shutdown closes the node. It takes no more envelopes, sends what is in Outbox
// and in its queues until ctx ends, closes Inbox, and returns when every
// goroutine and socket of the node is gone; only where ctx ended before may ZeroMQ
// keep a connection for two seconds more. A look-up of a name that no name server answers
// ends when the system's resolver gives it up. Who is blocked on Outbox is let go.
//
// What was sent by then arrives even if the process exits next, provided that
// its peer lives: Shutdown waits until the peer has said that all has come, but for
// a second at most while no connection to it stands. Messages that could not be sent
// when ctx ended are dropped, and counted as closed; the error is then that of ctx.
// Any number of calls may be made, and all wait for the same end; the earliest end of
// a context counts.
//
// A method of the program's own that encodes or decodes is waited for, however long it takes.
//
// A node that can receive no more closes by itself, as with Close. Then the error says why.
func (n *Node) Shutdown(ctx context.Context) error {
	if err := n.shutdown(ctx); err != nil {
		return err
	}
	return n.failed()
}

func (n *Node) shutdown(ctx context.Context) error {
	deadline, _ := ctx.Deadline()
	n.mu.Lock()
	n.deadline = stream.Earlier(n.deadline, deadline)
	n.mu.Unlock()
	n.closeOnce.Do(func() {
		close(n.closing)
		n.endLife()
		go n.close() // It ends by itself once cut is closed; all calls wait for it.
	})
	select {
	case <-n.done:
		return nil
	default:
	}
	select {
	case <-n.done:
		return nil
	case <-ctx.Done():
	}
	n.cutOnce.Do(func() { close(n.cut) })
	<-n.done
	return ctx.Err()
}

// fail closes the node, since it can go on no more. It does not wait for that.
func (n *Node) fail(err error) {
	n.mu.Lock()
	first := n.failure == nil
	if first {
		n.failure = err
	}
	n.mu.Unlock()
	if first {
		n.logs.mistakes.Error("cluster: the node closes by itself", "error", err)
		go n.Close() // It ends when the node has closed, which Done tells.
	}
}

// failed is why the node has closed by itself; nil if it has not.
func (n *Node) failed() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failure == nil {
		return nil
	}
	return fmt.Errorf("cluster: the node has closed by itself: %w", n.failure)
}

// close ends all parts of the node, in the order of the flow of data.
func (n *Node) close() {
	defer close(n.done)
	<-n.pumped
	n.mu.Lock()
	n.ended = true
	n.mu.Unlock()
	n.eachLink((*outgoing.Link).Finish)
	cutting := make(chan struct{})
	go func() { // It ends when the links have.
		defer close(cutting)
		select {
		case <-n.cut:
			n.eachLink((*outgoing.Link).Abandon)
		case <-n.drained:
		}
	}()
	n.eachLink(func(l *outgoing.Link) { <-l.Finished() })
	close(n.drained)
	<-cutting
	<-n.deserted
	<-n.watched
	n.lookout.end()
	n.following.Wait()
	n.unchecked()
	n.in.Halt()
	<-n.heard
	n.delivery.Halt()
	n.delivery.Close()
	n.in.Close()
	if n.unlist != nil {
		n.unlist()
	}
	n.logs.state.Info("cluster: closed")
	n.logs.journal.Flush()
}
