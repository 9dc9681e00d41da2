package outgoing

import (
	"errors"
	"fmt"
	"time"

	"github.com/abhishekg16/cluster/internal/calls"
	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/transport"
)

// note logs a change of how the way to the peer stands. The caller holds mu.
func (l *Link) note(attrs ...any) {
	state, _ := l.sender.Standing()
	if state == l.logged {
		return
	}
	l.logged = state
	if l.cfg.Stands != nil {
		l.cfg.Stands(l.id, state, l.trouble())
	}
	if state == stream.StandsDown {
		l.endCalls(calls.Down)
	}
	attrs = append([]any{"peer", l.id, "endpoint", l.route.endpoint, "encrypted", l.cfg.Encrypts(l.id)}, attrs...)
	text := "cluster: link is " + l.cfg.StateName(state)
	switch state {
	case stream.StandsDown, stream.StandsStalled, stream.StandsUnacknowledged:
		if why := l.trouble(); why != nil && len(attrs) == 6 {
			attrs = append(attrs, "error", why)
		}
		l.cfg.Log.Warn(text, attrs...)
	default:
		l.cfg.Log.Info(text, attrs...)
	}
}

// Tell tells Stands how the way to the server stands now, though that may have been told before.
func (l *Link) Tell() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cfg.Stands != nil {
		state, _ := l.sender.Standing()
		l.cfg.Stands(l.id, state, l.trouble())
	}
}

// What is known of a peer that does not answer, or is not connected.
var (
	errStrange = errors.New("it has never answered, though its connection takes messages: it may be of another cluster, or not list this server, or list it at another address, or be unable to connect back")
	errSilent  = errors.New("it does not answer any more: it may have been stopped, or have another address for this server by now, or not list it any more, or the path passes one way only")
	errBroken  = errors.New("its connection broke, and no other stands")

	// errElsewhere is of a peer that comes from where nobody reaches it.
	errElsewhere = errors.New("it is heard, and cannot be reached where its entry says: it may run somewhere else, or be unable to be connected to")

	// ErrUnheard is of a peer that runs, as its connection shows, and that answers nothing.
	ErrUnheard = errors.New("it runs, and acknowledges nothing of what its connection takes: it may have another address for this server than this one listens on, or not list it, or be of another cluster, or be unable to connect back")
)

// noteUnheard tells that the peer runs and does not answer, once until it is down no more. The caller holds mu.
func (l *Link) noteUnheard(now time.Time) {
	if state, _ := l.sender.Standing(); state != stream.StandsDown {
		l.unheard = false
	} else if !l.unheard && l.sender.Unheard(now) {
		l.unheard = true
		l.cfg.Trouble(l.id, ErrUnheard)
		l.cfg.Log.Warn("cluster: a peer that runs does not answer this server", "peer", l.id, "endpoint", l.route.endpoint, "error", ErrUnheard)
	}
}

// trouble is why the peer cannot be reached, as far as that is known; nil if it can. The caller holds mu.
func (l *Link) trouble() error {
	state, _ := l.sender.Standing()
	why := transport.Trouble(l.conn)
	switch silent := state == stream.StandsDown || state == stream.StandsUnacknowledged; {
	case silent && l.sender.Elsewhere(time.Now()) && why != nil:
		return fmt.Errorf("%w; %w", why, errElsewhere)
	case silent && l.sender.Elsewhere(time.Now()):
		return errElsewhere
	case !silent || why != nil:
		return why
	}
	switch met, takes := l.sender.Meets(); {
	case takes && l.unheard:
		return ErrUnheard
	case takes && !met:
		return errStrange
	case takes:
		return errSilent
	case met:
		return errBroken
	}
	return nil
}

// look sees to it that a connection which breaks does not go unnoticed, nor that bytes move on one where nothing is answered. It returns when
// to look again; zero: what is to be known will be told. The caller holds io and mu.
func (l *Link) look(now time.Time) time.Time {
	at := l.lookMoves(now)
	should, idle := l.sender.Stands()
	if !should {
		return at
	}
	if l.urgent != nil {
		_, free := l.urgent.sender.Stands()
		idle = idle && free
	}
	broke := l.broke.Load() && l.broke.Swap(false)
	if !broke && l.poll == 0 {
		return at
	}
	_, answered, _ := l.sender.Answers()
	if at := answered.Add(l.poll); l.pollAt.Before(at) {
		l.pollAt = at // it stood then
	}
	if broke || !l.rests && !now.Before(l.pollAt) {
		if l.pollAt = now.Add(l.poll); !transport.Stands(l.conn, idle) {
			l.rests = false
			l.sender.Broke(now)
			return at
		}
		// What has just told something may do so often: it rests when it was quiet for a while.
		l.rests = !broke && transport.Rest(l.conn)
	}
	if l.poll == 0 || l.rests {
		return at
	}
	return stream.Earlier(at, l.pollAt)
}

// lookMoves tells the sender whether bytes move towards a peer that owes an answer, and returns when to look again; zero: it owes none. The
// caller holds io and mu.
func (l *Link) lookMoves(now time.Time) time.Time {
	at := l.sender.SeeAt()
	if at.IsZero() || now.Before(at) {
		return at
	}
	flow, can := transport.FlowOf(l.conn)
	l.sender.Saw(can, flow.Came, flow.Waits, now)
	return l.sender.SeeAt()
}

// attend makes a connection the link's, which is told when it breaks. Whether it has come to stand at all is looked at as soon as it should:
// a peer that answers may do so from where it was before. The caller holds io and mu.
func (l *Link) attend(c transport.Conn) {
	l.conn, l.rests = c, false
	l.broke.Store(true)
	l.poll = transport.Watch(c, func() {
		l.broke.Store(true)
		l.wakeUp()
	})
}

// giveUp takes in that the peer has taken nothing for as long as the policy allows. The caller holds io and mu.
func (l *Link) giveUp() {
	if trouble := l.trouble(); trouble != nil {
		l.cfg.Trouble(l.id, trouble)
		l.down(stream.TimedOut, "took_nothing_for", l.sender.Patience(), "error", trouble)
	} else {
		l.down(stream.TimedOut, "took_nothing_for", l.sender.Patience())
	}
}
