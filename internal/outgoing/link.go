// Package outgoing is a peer as its sender sees it: a Link with its queue, which decides nothing that
// package stream decides, and does what that says on a connection.
package outgoing

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/abhishekg16/cluster/internal/calls"
	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/wire"
)

// Config is what the links of one node share.
type Config struct {
	Self       stream.Self
	Policy     stream.Policy
	QueueBytes int // of what waits for each peer
	// Single makes each frame carry one message: a network for tests takes them one by one.
	Single bool
	Log    *slog.Logger

	// Dial sets up the connection to a server. It returns before the connection stands.
	Dial func(id int, t Target) (transport.Conn, error)
	// Calls has the calls to a server; nil: there are none.
	Calls func(id int) *calls.Peer
	// Woke is told that calls have ended. It does not block.
	Woke func()
	// Interrupt makes who reads the network look whether it was told what it waits for. It is called with locks held, and does not block.
	Interrupt func()
	// Linger is how long a link that ends may wait for its connection to be flushed.
	Linger func() time.Duration
	// Encrypts reports whether what goes to a server is encrypted.
	Encrypts func(id int) bool
	// Trouble is told why a server whose link goes down cannot be reached, where that is known, and of one that is down that it runs
	// (ErrUnheard). It does not block.
	Trouble func(id int, why error)
	// Stands is told how the way to a server stands, and why it does not, whenever that changes. It does not block.
	Stands func(id int, s stream.Standing, why error)
	// StateName is what logs call a state.
	StateName func(stream.Standing) string
}

// A Link is the way to one peer: a queue bounded in bytes, and a goroutine that writes what is in it; while that sleeps, a
// sender may write in its place. There is one for each id that was ever sent to; its sequence and
// its books go on if the peer is removed, comes back, or moves.
//
// While the peer takes what it is sent, a full queue makes senders wait. When something is to be
// written and the peer has taken nothing for as long as the policy allows, the link is down: what
// is queued is dropped, and so is what comes, until the peer takes again.
type Link struct {
	cfg      *Config
	id       int
	wake     chan struct{} // holds a token when run should look again
	broke    atomic.Bool   // a connection has ended that stood
	finished chan struct{} // closed when run has returned

	// io is held by who uses conn and the current parcel: run, or a sender that drives the link while run
	// sleeps. It comes before mu.
	io     sync.Mutex
	wrote  time.Time      // when the connection last took a frame; used with io held, like inARow
	inARow int            // frames of one message each that a sender has written, each hardly later than the one before
	spare  transport.Conn // that is to take the place of conn, which is stalled; nil: it is not. Used with io held, like lookAt
	lookAt time.Time      // when to look at it, and whether conn is still stalled
	// When such a one was last begun, when one last took the place, and how many have since the peer last got something.
	spareAt, replacedAt time.Time
	replaced            int

	mu       sync.Mutex // guards what follows
	route    route
	conn     transport.Conn // nil while there is none; used with io held, but for Interrupt
	queue    queue
	current  *parcel     // that sender has as its load; nil if it has none
	kept     kept        // what was written, and may have to be written again
	urgent   *urgent     // the urgent stream; nil until it is used
	turn     *urgent     // the same if the frame at hand is its; used with io held
	cork     bool        // the queue has only messages whose callers have others to put before they wait: see corked
	corkedAt time.Time   // since when
	waiters  waiters     // who waits to hear what becomes of a message
	calls    *calls.Peer // who waits for replies; nil if nobody ever does
	sender   *stream.Sender
	logged   stream.Standing
	began    bool          // a new life of the peer was heard, and what it says is told next
	unheard  bool          // it was told that the peer, which is down, runs and does not answer
	poll     time.Duration // how often to look whether conn stands though nothing is on its way; 0: it says so
	rests    bool          // conn tells when it is to be looked at again
	pollAt   time.Time
	books    Books
	room     chan struct{} // closed when senders that wait should look again; nil if none waits

	activity activity
	until    time.Time // when run last went to sleep: its deadline

	bare [headRoom]byte // the header of a frame without records; used with io held
}

// activity is what run is doing, as far as others have to know.
type activity uint8

const (
	working      activity = iota // it will look at the queue
	sleeping                     // nobody is about to write the queue
	awaitingAck                  // likewise, and what is queued comes behind current, for which the peer's window has no room
	awaitingRoom                 // it waits for the connection, with nothing to write and so without the deadline of that
	flushing                     // the connection is being closed, and only a cut may end that early
	parked                       // it has ended, since there is no such peer; it begins again when there is, or to end for good
)

// NewLink makes the link to a server. Redirect tells it where that is, before all else; then Start sets it going.
func NewLink(c *Config, id int) *Link {
	l := &Link{
		cfg: c, id: id,
		wake:     make(chan struct{}, 1),
		finished: make(chan struct{}),
		queue:    queue{single: c.Single},
		sender:   stream.NewSender(c.Self, uint16(id), c.Policy, time.Now()),
		logged:   stream.StandsConnecting,
	}
	if c.Calls != nil {
		l.calls = c.Calls(id)
	}
	return l
}

// Start starts the link's goroutine. Finish or Abandon end it for good, and Finished tells when. While there is no such
// peer the link has none, and no connection.
func (l *Link) Start() { go l.run() }

// Finished is closed when the link's goroutine has ended for good.
func (l *Link) Finished() <-chan struct{} { return l.finished }

// ID is the peer's id.
func (l *Link) ID() int { return l.id }

// Redirect tells where the peer is now, or that it is nowhere if endpoint is empty, and what its
// public keys are. What is queued goes there, or is dropped.
func (l *Link) Redirect(endpoint string, keys []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.route.redirect(endpoint, keys) {
		return
	}
	if now := time.Now(); endpoint == "" {
		l.sender.Vanished(now)
		l.settle()
		l.endCalls(calls.Removed)
	} else {
		l.sender.Appeared(now)
	}
	l.wakeAll()
}

// Acked takes in what a frame of the peer, which came now, says of what it got. Names are the records that it names beside, which were not
// delivered.
func (l *Link) Acked(h *wire.Header, names []byte, now time.Time) {
	told := l.acked(h, names, now)
	l.tell(told, l.id != int(l.cfg.Self.ID)) // without mu: they come back for that
}

// acked is Acked but for waking those who hear now what became of their messages.
func (l *Link) acked(h *wire.Header, names []byte, now time.Time) (told chain) {
	l.mu.Lock()
	defer l.mu.Unlock()
	knew, knewCalls := l.sender.Confirming(), l.sender.Calling()
	if h.AckIncarnation != l.cfg.Self.Incarnation {
		names = nil // they are of a life before this one, as what it acknowledges is
	}
	l.unknown(names)
	if l.sender.Acked(h, now) || !l.queue.empty() {
		l.wakeUp() // there may be something to be written now
	}
	before := l.logged
	if l.note(); l.logged != before && l.conn != nil {
		l.conn.Interrupt() // a peer that answers is looked after, also while its connection takes nothing
	}
	if confirms := l.sender.Confirming(); confirms != knew {
		if knew == stream.Confirms {
			l.unasked(l.sender.NextNumber())
		}
		l.wakeSenders()
	}
	if calling := l.sender.Calling(); calling != knewCalls {
		l.wakeSenders()
		if calling == stream.CallsNot {
			l.endAllCalls(calls.Restarted) // what was queued for the life before, this one refuses
		}
	}
	l.kept.release(l.sender.KeptFrom())
	if l.began {
		l.began = false
		l.wakeAll()
	}
	return l.fates(names)
}

// PeerBegan tells that a new life of the peer was heard, and whether it is the first that is heard at all. Key is the one that it
// has now, if there are keys. What the frame says by which it was heard is told next, to Acked: who waits looks again when that is known, too.
func (l *Link) PeerBegan(key string, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.sender.PeerBegan(first, now)
	l.settle()
	if !first {
		l.endCalls(calls.Restarted)
	}
	if l.route.proved(key) {
		l.sender.ResetSilence(now)
	}
	l.note()
	l.began = true
}

// Acknowledge notes the latest acknowledgment for the peer, which is written by the time at which it is due.
func (l *Link) Acknowledge(a stream.Ack) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sender.Acknowledge(a) {
		l.wakeUp()
	}
}

// Finish makes the link write what it has, and end. It takes no more.
func (l *Link) Finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cork = false
	l.sender.Finish(time.Now())
	l.wakeAll()
}

// Abandon makes the link drop what it has, and end.
func (l *Link) Abandon() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cork = false
	l.sender.Cut()
	l.wakeAll()
}

// wakeUp makes run look again, if it waits for something to do.
func (l *Link) wakeUp() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// wakeAll makes run and waiting senders look again, whatever they wait for. The caller holds mu.
func (l *Link) wakeAll() {
	l.wakeSenders()
	if l.activity == parked {
		l.activity = working
		go l.run() // As in Start.
		return
	}
	l.wakeUp()
	if l.conn != nil && (l.activity != flushing || l.sender.Phase() == stream.Cut) {
		l.conn.Interrupt()
	}
}

// wakeSenders lets waiting senders look again. The caller holds mu.
func (l *Link) wakeSenders() {
	if l.room != nil {
		close(l.room)
		l.room = nil
	}
}
