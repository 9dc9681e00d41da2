package clustertest_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/abhishekg16/cluster"
)

// brokenClosings are servers that do not close as they should.
var brokenClosings = []breakage{
	{"Close blocks", ruleEnds, func(b *broken) {
		b.close = func() error {
			time.Sleep(time.Hour)
			return b.Node.Close()
		}
	}},
	{"Inbox stays open", ruleEnds, func(b *broken) {
		b.inbox = make(chan *cluster.Envelope, cap(b.inbox))
		go relay(b.Node.Inbox(), b.inbox, b.Node.Done(), func(e *cluster.Envelope, on func(*cluster.Envelope)) { on(e) }) // ends as the node closes
	}},
	{"Close takes what Inbox holds with it", ruleEnds, func(b *broken) {
		b.close = func() error {
			err := b.Node.Close()
			for range b.Node.Inbox() {
			}
			return err
		}
	}},
	{"Close drops what it had accepted", ruleDelivers, func(b *broken) { b.close = func() error { return cut(b.Node) } }},
	{"Close delivers only what is small", ruleDelivers, slowLane(func(e *cluster.Envelope) bool { return size(e) > 128<<10 })},
	{"Close delivers no broadcasts", ruleDelivers, slowLane(func(e *cluster.Envelope) bool { return e.Pid == cluster.BROADCAST })},
	{"a second Close is an error", ruleAgain, func(b *broken) {
		var once sync.Once
		b.close = func() error {
			err := cluster.ErrClosed
			once.Do(func() { err = b.Node.Close() })
			return err
		}
	}},
	{"a second Close never returns", ruleAgain, func(b *broken) {
		var once sync.Once
		b.close = func() error {
			first := false
			once.Do(func() { first = true })
			if !first {
				time.Sleep(time.Hour)
			}
			return b.Node.Close()
		}
	}},
	{"Shutdown after Close is an error", ruleAgain, func(b *broken) {
		b.shutdown = func(context.Context) error { return cluster.ErrClosed }
	}},
	{"the address stays taken", ruleFree, func(b *broken) { b.close = func() error { return nil } }},
	{"the address is free a while later", ruleFree, func(b *broken) {
		b.close = func() error {
			go func() { // ends by itself
				time.Sleep(100 * time.Millisecond)
				b.Node.Close()
			}()
			return nil
		}
	}},
	{"who is blocked on Outbox stays so", ruleLetGo, func(b *broken) {
		b.outbox = make(chan *cluster.Envelope, cap(b.outbox))
		go func() { // ends as the node closes
			select {
			case e := <-b.outbox:
				select {
				case b.Node.Outbox() <- e:
				case <-b.Node.Done():
				}
			case <-b.Node.Done():
			}
		}()
	}},
	{"Close says that nothing was dropped", ruleLetGo, func(b *broken) {
		b.close = func() error {
			b.Node.Close()
			return nil
		}
	}},
	{"only one who is blocked is let go", ruleLetGo, func(b *broken) {
		b.outbox = make(chan *cluster.Envelope, cap(b.outbox))
		go func() { // ends as the node closes
			<-b.Node.Done()
			select {
			case <-b.outbox:
			default:
			}
		}()
	}},
	{"closing Outbox drops what it holds", ruleFlush, func(b *broken) {
		b.outbox = make(chan *cluster.Envelope, 1000)
		go func() { // ends as the program closes Outbox, or the node closes
			relay(b.outbox, b.Node.Outbox(), b.Node.Done(), func(e *cluster.Envelope, on func(*cluster.Envelope)) {
				if len(b.outbox) > 10 {
					on(e)
				}
			})
		}()
	}},
	{"closing Outbox closes the server", ruleFlush, func(b *broken) {
		b.send(func(e *cluster.Envelope, on func(*cluster.Envelope)) { on(e) })
		mine, outbox := b.outbox, make(chan *cluster.Envelope, cap(b.outbox))
		b.outbox = outbox
		go func() { // ends as the program closes Outbox, or the node closes
			for {
				select {
				case e, open := <-outbox:
					if !open {
						b.Node.Close()
						return
					}
					mine <- e
				case <-b.Node.Done():
					return
				}
			}
		}()
	}},
	{"nothing is received once Outbox is closed", ruleFlush, func(b *broken) {
		outbox := make(chan *cluster.Envelope, cap(b.outbox))
		b.outbox = outbox
		deaf := make(chan struct{})
		go func() { // ends as the program closes Outbox, or the node closes
			defer close(deaf)
			relay(outbox, b.Node.Outbox(), b.Node.Done(), func(e *cluster.Envelope, on func(*cluster.Envelope)) { on(e) })
		}()
		b.receiveEach(func(e *cluster.Envelope) *cluster.Envelope {
			select {
			case <-deaf:
				return nil
			default:
				return e
			}
		})
	}},
	{"Shutdown does not wait", ruleShutdown, func(b *broken) {
		b.shutdown = func(context.Context) error {
			cut(b.Node)
			return nil
		}
	}},
	{"Shutdown returns too early", ruleShutdown, func(b *broken) {
		b.shutdown = func(context.Context) error { return context.Canceled }
	}},
	{"Shutdown never returns", ruleShutdown, func(b *broken) {
		b.shutdown = func(ctx context.Context) error {
			b.Node.Shutdown(ctx)
			time.Sleep(time.Hour)
			return nil
		}
	}},
	{"Shutdown does not look at its context", ruleBounded, func(b *broken) {
		b.shutdown = func(context.Context) error { return b.Node.Shutdown(context.Background()) }
	}},
	{"Shutdown returns a while after its context has ended", ruleBounded, func(b *broken) {
		b.shutdown = func(ctx context.Context) error {
			err := b.Node.Shutdown(ctx)
			time.Sleep(5 * time.Second)
			return err
		}
	}},
	{"Shutdown waits for who is there, though its context has ended", ruleBounded, func(b *broken) {
		b.shutdown = func(ctx context.Context) error {
			if slices.ContainsFunc(b.Node.Stats().Peers, func(p cluster.PeerStats) bool { return !p.LastAcknowledged.IsZero() }) {
				return b.Node.Shutdown(context.WithoutCancel(ctx))
			}
			return b.Node.Shutdown(ctx)
		}
	}},
	{"Shutdown does not see that its context had ended before", ruleBounded, func(b *broken) {
		b.shutdown = func(ctx context.Context) error {
			if ctx.Err() != nil {
				ctx = context.Background()
			}
			return b.Node.Shutdown(ctx)
		}
	}},
	{"the context of the first Shutdown counts", ruleBounded, func(b *broken) {
		first := make(chan struct{}, 1)
		b.shutdown = func(ctx context.Context) error {
			select {
			case first <- struct{}{}:
				return b.Node.Shutdown(ctx)
			default:
				<-b.Node.Done()
				return context.DeadlineExceeded
			}
		}
	}},
	{"Shutdown does not say that its context has ended", ruleBounded, func(b *broken) {
		b.shutdown = func(ctx context.Context) error {
			b.Node.Shutdown(ctx)
			return nil
		}
	}},
	{"Shutdown does not count what it has dropped", ruleBounded, statistics(func(s *cluster.Stats) { s.Sent.Dropped = nil })},
	{"Done is closed at the start", ruleDone, func(b *broken) {
		closed := make(chan struct{})
		close(closed)
		b.done = func() <-chan struct{} { return closed }
	}},
	{"Done is never closed", ruleDone, func(b *broken) {
		never := make(chan struct{})
		b.done = func() <-chan struct{} { return never }
	}},
	{"Done is closed a while later", ruleDone, func(b *broken) {
		late := make(chan struct{})
		go func() { // ends by itself
			<-b.Node.Done()
			time.Sleep(time.Second)
			close(late)
		}()
		b.done = func() <-chan struct{} { return late }
	}},
	{"a closed server takes messages", ruleClosed, func(b *broken) {
		b.say = func(context.Context, *cluster.Envelope) error { return nil }
	}},
	{"a closed server says that the peer is unreachable", ruleClosed, func(b *broken) {
		b.say = func(ctx context.Context, e *cluster.Envelope) error {
			if err := b.Node.Send(ctx, e); err != nil {
				return cluster.ErrUnreachable
			}
			return nil
		}
	}},
	{"a closed server has no peers", ruleClosed, func(b *broken) {
		b.peers = func() []int {
			select {
			case <-b.Node.Done():
				return nil
			default:
				return b.Node.Peers()
			}
		}
	}},
}

// brokenStarts are ways in which New can be broken: what becomes of a server, or of the
// error instead of it.
var brokenStarts = []struct {
	name, rule string
	start      func(b *broken, err error) (cluster.Server, error)
}{
	{"who finds the address taken listens nowhere", ruleTaken, func(b *broken, err error) (cluster.Server, error) {
		if err != nil {
			return deaf{make(chan *cluster.Envelope)}, nil
		}
		return b, nil
	}},
	{"a taken address is neither a server nor an error", ruleTaken, func(b *broken, err error) (cluster.Server, error) {
		if err != nil {
			return nil, nil
		}
		return b, nil
	}},
	{"who finds the address taken waits, and gives up silently", ruleTaken, func(b *broken, err error) (cluster.Server, error) {
		if err != nil {
			time.Sleep(time.Minute)
			return nil, nil
		}
		return b, nil
	}},
	{"a server can be started ten times", ruleFree, func(b *broken, err error) (cluster.Server, error) {
		self, _ := b.Catalog().Get(b.Pid())
		if here.count(self.Address) > 10 {
			return nil, errors.New("once too often")
		}
		return b, err
	}},
}

// deaf is a server that does nothing.
type deaf struct{ c chan *cluster.Envelope }

func (deaf) Pid() int                         { return 0 }
func (deaf) Peers() []int                     { return nil }
func (d deaf) Inbox() chan *cluster.Envelope  { return d.c }
func (d deaf) Outbox() chan *cluster.Envelope { return d.c }
func (deaf) Close() error                     { return nil }
