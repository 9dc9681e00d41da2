package cluster

import "context"

// Inbox implements Server. It is closed when the node closes, so that a range
// over it ends; what it holds then can still be taken.
func (n *Node) Inbox() chan *Envelope {
	if !n.inboxed.Load() {
		n.inboxed.Store(true)
		n.in.Lease().Recall() // or it might have to wait: see readsFor
	}
	return n.inbox
}

// Receive takes the next envelope, as one that is taken from Inbox, and waits until there
// is one. The error is that of ctx if it ends before, and ErrClosed once the node has closed
// and all that it had received is taken.
//
// Who waits for one message at a time, such as a request or its reply, has it sooner than
// from Inbox: Receive reads from the network itself, where for Inbox another goroutine does
// and then has to wake who waits.
//
// It may be called from any number of goroutines, also while others take from Inbox: each
// envelope goes to one of them. After a Receive it may take two milliseconds until the other
// goroutine reads again, for those who take from Inbox: a program had better do the one or the
// other.
func (n *Node) Receive(ctx context.Context) (*Envelope, error) {
	select {
	case env, ok := <-n.inbox:
		return received(env, ok)
	default:
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	env, ok, taken := take(ctx, n, n.inbox)
	if !taken {
		return nil, ctx.Err()
	}
	return received(env, ok)
}

func received(env *Envelope, ok bool) (*Envelope, error) {
	if !ok {
		return nil, ErrClosed
	}
	return env, nil
}

// take takes from a channel which the receiving half of the node sends on, and reads the network itself while there is nothing in it. Who else
// sends on it wakes the receiving half. taken is false if ctx ends before.
func take[T any](ctx context.Context, n *Node, from <-chan T) (v T, ok, taken bool) {
	lease := n.in.Lease()
	lease.Want()
	defer lease.Leave()
	if ctx.Done() != nil {
		// Who has the lease is parked where nothing else wakes it.
		defer context.AfterFunc(ctx, lease.Interrupt)()
	}
	for {
		select {
		case <-lease.Free(): // costs a fraction of what it does to look at all of them
		default:
			select {
			case v, ok = <-from:
				return v, ok, true
			case <-ctx.Done():
				return v, false, false
			case <-lease.Free():
			}
		}
		v, ok, taken = readUntil(ctx, n, from)
		lease.GiveBack()
		if taken || ctx.Err() != nil { // or else the lease, free again, would be taken for ever
			return v, ok, taken
		}
	}
}

// readUntil reads the listener until something can be taken from the channel, or that is
// closed. taken is false if the node closes, or ctx ends. The caller has the lease.
func readUntil[T any](ctx context.Context, n *Node, from <-chan T) (v T, ok, taken bool) {
	for {
		select {
		case v, ok = <-from:
			return v, ok, true
		default:
		}
		if n.in.Halted() || ctx.Err() != nil {
			return v, false, false
		}
		n.in.Read()
	}
}
