// Package incoming is the receiving half of a node: it reads frames from the listener, checks what they
// claim, and passes them through the streams of their senders (package stream) to the queues from
// which they are delivered (package delivery).
//
// The listener is always read, however slowly the program takes its envelopes: what it has no
// room for waits in the queues, which the senders' windows keep small. So heartbeats and the
// acknowledgments of the other direction pass at all times.
package incoming

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/abhishekg16/cluster/internal/delivery"
	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/wire"
	"github.com/abhishekg16/cluster/peercatalog"
)

// Window is what a node that queues so many bytes for each peer grants to each of so many.
func Window(queueBytes, peers int) int {
	// More than the most does not go faster.
	const most = 4 << 20
	return min(max(queueBytes/max(1, peers), wire.InitialWindow), most)
}

// Config is what the receiving half works with.
type Config struct {
	Pid     int
	Cluster uint64 // the hash of its name
	Catalog *peercatalog.Catalog
	Keys    bool // the servers have keys
	Limits  stream.Limits
	Log     *slog.Logger

	// Queue makes the way of one sender's messages to the program.
	Queue func(from int, o delivery.Owner) Queue
	// Link finds the link to a server, which acknowledgments concern; nil if there is none. With create it
	// makes one where there can be one, and tells it where the server is now. It is always the same one.
	Link func(id int, create bool) Link
	// Urgent is Link for the acknowledgments of the urgent stream.
	Urgent func(id int, create bool) Link
	// Name is what Stats and logs call a refusal.
	Name func(stream.Refusal) string
	// Inbox is how many envelopes wait for the program.
	Inbox func() int
	// Began is told that a life of a server is heard that was not before, and whether it is the first of it. It does not block; nil: nobody
	// wants to know.
	Began func(from int, incarnation uint64, first bool)
	// Failed is told that the listener is of no use any more. It does not wait for anything.
	Failed func(error)
	// Mistake is told of each kind of refusal once for each peer, or for nobody (-1). It does not block.
	Mistake func(r stream.Refusal, peer int)
}

// Queue is the way of one sender's messages to the program; see delivery.Queue.
type Queue interface {
	Put(d *stream.Delivery, goOn func() bool)
	RefuseLarge(r wire.Record)
	Books() delivery.Books
	Left() int
}

// Link is the other direction, to the same peer: it carries the acknowledgments.
type Link interface {
	// Acked takes in what a frame of the peer, which came now, says of what it got. Names are the records that it names beside, which were not
	// delivered.
	Acked(h *wire.Header, names []byte, now time.Time)
	// PeerBegan tells that a new life of the peer was heard, whether it is the first that is heard at all, and the public key that it
	// proved, if there are keys.
	PeerBegan(key string, first bool)
	// Acknowledge notes what the peer is to be told.
	Acknowledge(a stream.Ack)
	// Prompt is Acknowledge for what is to be told at once. It may write to the connection, and does not wait.
	Prompt(a stream.Ack)
}

// In is the receiving half of a node.
type In struct {
	cfg      Config
	listener transport.Listener // used by who has the lease; others may only interrupt it
	lease    *Lease
	owing    int         // frames that have come while some peer waits to be told how far it was taken; used like the listener
	halted   atomic.Bool // Run is to end
	goOn     func() bool // mayGoOn

	// rx is held while frames are taken, by who reads or by the loopback, one at a time. It
	// comes before mu, which is let go of while their messages are delivered.
	rx sync.Mutex

	mu         sync.Mutex      // guards what follows
	sources    map[int]*source // by id, and for urgent messages by id and urgentSource
	holding    bool            // some source may hold frames
	prompts    []*source       // whose peers wait to be told how far they were taken, as soon as nothing else is at hand,
	lone       bool            // or at once, since one does for a lone message
	closed     bool
	refused    [stream.Refusals]uint64 // of no known peer
	handshakes map[string]bool         // the causes of failed ones that were logged
}

// New makes the receiving half. Open is called before all else.
func New(c Config) *In {
	in := &In{
		cfg:        c,
		sources:    make(map[int]*source),
		handshakes: make(map[string]bool),
	}
	in.goOn = in.mayGoOn
	return in
}

// Open gives it the listener to read.
func (in *In) Open(l transport.Listener) {
	in.listener = l
	in.lease = newLease(l)
}

// Halt makes Run end.
func (in *In) Halt() {
	in.halted.Store(true)
	in.listener.Interrupt()
	in.lease.Recall()
}

// Run reads the listener until Halt, but for when a Receive does. It closes the listener.
func (in *In) Run() {
	for !in.halted.Load() {
		if in.lease.wanted() {
			in.lease.lend()
			continue
		}
		if in.Read() && in.cfg.Inbox() == 0 {
			// The program was waiting for it: it goes first.
			runtime.Gosched()
		}
	}
	if err := in.listener.Close(); err != nil {
		in.cfg.Log.Warn("cluster: closing the listener", "error", err)
	}
}

// Halted reports whether Halt was called.
func (in *In) Halted() bool { return in.halted.Load() }

// Lease is the right to read the listener.
func (in *In) Lease() *Lease { return in.lease }

// Read takes a frame from the listener, waiting until there is one, an interrupt, or something
// else to do. It reports whether there was a frame. The caller has the lease.
func (in *In) Read() bool {
	l := in.listener
	deadline, waited := in.deadline()
	if waited {
		deadline = past
	}
	head, tail, err := l.Recv(deadline)
	switch {
	case err == nil:
		if !in.frame(head, tail, l.Key(), false) {
			transport.Refused(l)
		}
	case errors.Is(err, transport.ErrMalformed):
		sender, _ := in.sender(l.Key(), false)
		count := uint64(1)
		if m := (*transport.Malformed)(nil); errors.As(err, &m) {
			count = uint64(m.Count)
		}
		in.refuseFrom(sender, refusal{stream.RefusedMalformed, count, err, true})
	case errors.Is(err, transport.ErrInterrupted):
		return false // to look at once at what it was for; there may be another deadline now
	case errors.Is(err, transport.ErrTimeout):
		in.prompt() // nothing else is at hand
	default:
		in.cfg.Failed(fmt.Errorf("receiving: %w", err))
		in.Halt()
	}
	if waited, lone := in.overdue(); waited {
		in.promptSoon(lone)
	}
	return err == nil
}

// deadline is when some source will have waited long enough for what it misses, and whether some peer waits to be told at once
// how far it was taken.
func (in *In) deadline() (d time.Time, waited bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	waited = len(in.prompts) > 0
	if !in.holding {
		return d, waited
	}
	in.holding = false
	for _, s := range in.sources {
		if due := s.stream.Deadline(); !due.IsZero() {
			in.holding, d = true, stream.Earlier(d, due)
		}
	}
	return stream.Even(d), waited
}

// overdue gives up waiting for what should have come by now. It reports whether some peer waits to be told at once how far it was
// taken, and whether for a lone message.
func (in *In) overdue() (waited, lone bool) {
	in.rx.Lock()
	defer in.rx.Unlock()
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.holding {
		now := time.Now()
		for _, s := range in.sources {
			in.carryOut(s, s.stream.Overdue(now), now)
		}
	}
	return len(in.prompts) > 0, in.lone
}

// frame takes one frame, which it owns, and whose sender has proved to have the public key,
// if there are keys. own tells that it comes from this node and not from the network.
// It reports false for what no peer sends: the listener may cut off who does.
func (in *In) frame(head, tail []byte, key string, own bool) (sound bool) {
	sender, listed := in.sender(key, own)
	if !listed {
		in.refuseFrom(sender, refusal{stream.RefusedKey, 1, fmt.Errorf("no peer has the public key %q", key), !own})
		return false
	}
	f := stream.Frame{Tail: tail, Buffer: head, Key: key}
	h := &f.Header
	err := h.Parse(head)
	if size := len(head) + len(tail); err == nil && size > wire.MaxFrame {
		err = fmt.Errorf("%w: %d bytes", wire.ErrMalformed, size)
	}
	if err != nil {
		reason := stream.RefusedMalformed
		if errors.Is(err, wire.ErrVersion) {
			reason = stream.RefusedVersion
		}
		in.refuseFrom(sender, refusal{reason, 1, err, !own})
		return false
	}
	if reason, cause := in.check(h, sender, own); reason != 0 {
		in.refuseFrom(sender, refusal{reason, 1, cause, !own})
		return false
	}
	f.Body, f.Came = head[h.Size():], time.Now()
	err = f.Check()
	in.rx.Lock()
	defer in.rx.Unlock()
	in.mu.Lock()
	defer in.mu.Unlock()
	switch s := in.source(sourceOf(h)); {
	case in.closed:
	case err != nil:
		in.refuse(s, refusal{stream.RefusedMalformed, 1, err, !own})
		return false
	default:
		effects := s.stream.Arrive(f)
		sound = !misplaced(effects)
		in.carryOut(s, effects, f.Came)
		return sound
	}
	return true
}

// misplaced reports whether a frame was refused for its place among those of its sender.
func misplaced(effects []stream.Effect) bool {
	for i := range effects {
		switch e := &effects[i]; {
		case e.Do != stream.Refused:
		case e.Refusal == stream.RefusedIncarnation, e.Refusal == stream.RefusedSequence, e.Refusal == stream.RefusedWindow:
			return true
		}
	}
	return false
}

// check says why a frame is refused for what its head claims, or 0. Its sender is known, or nobody.
func (in *In) check(h *wire.Header, sender int, own bool) (stream.Refusal, error) {
	from := int(h.From)
	switch {
	case sender != nobody && sender != from:
		return stream.RefusedIdentity, fmt.Errorf("it names %d as its sender", from)
	case h.Cluster != in.cfg.Cluster:
		return stream.RefusedCluster, otherCluster(from)
	case int(h.To) != in.cfg.Pid:
		return stream.RefusedDestination, fmt.Errorf("it is for %d", h.To)
	case !in.cfg.Catalog.Has(from):
		return stream.RefusedSender, fmt.Errorf("it names %d as its sender", from)
	case from == in.cfg.Pid && !own:
		return stream.RefusedIncarnation, errOwnID
	}
	return 0, nil
}

var errOwnID = errors.New("another server uses this one's id")

// nobody is the sender of frames that nothing proves to be a peer's.
const nobody = -1

// sender is the peer that has proved to have the public key, and whether who did is listed. It
// is asked for every frame, since the catalogue may have changed since the connection was
// made. Without keys, and for the node's own frames, it is nobody.
func (in *In) sender(key string, own bool) (id int, listed bool) {
	if !in.cfg.Keys || own {
		return nobody, true
	}
	if id, ok := in.cfg.Catalog.Owner(key); ok {
		return id, true
	}
	return nobody, false
}

// Admit reports whether the owner of a public key may connect.
func (in *In) Admit(publicKey string) bool {
	_, ok := in.cfg.Catalog.Owner(publicKey)
	if !ok {
		in.refuseFrom(nobody, refusal{stream.RefusedKey, 1, fmt.Errorf("no peer has the public key %q", publicKey), false})
	}
	return ok
}

// Close ends the streams: all that comes from now on is ignored. Halt was called, and Run has
// returned; the queues have ended, and what they have left is counted as refused.
func (in *In) Close() {
	in.lease.stop()
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed = true
	for _, s := range in.sources {
		s.refused[stream.RefusedClosed] += uint64(s.queue.Left())
		s.closed = true
	}
}
