package outgoing

import (
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
)

const (
	// doubtLooks is how often a connection that is in doubt is looked at, in the time after which it was.
	doubtLooks = 4
	// spareInterval is how often is looked whether another one stands.
	spareInterval = 10 * time.Millisecond
	// spareWait is how long that takes at most.
	spareWait = time.Millisecond
	// spareShare is what part of its age passes between two looks at least.
	spareShare = 8
	// replacedMost bounds for how long a connection that has taken the place of another is waited for: DoubtTime, doubled so many times.
	replacedMost = 4
)

// replacing reports whether replaceStalled has something to do. The caller holds io and mu.
func (l *Link) replacing(now time.Time) bool {
	at := l.doubtsAt()
	doubt := !at.IsZero() && !now.Before(at)
	if !doubt || now.Before(l.lookAt) {
		return !doubt && l.spare != nil
	}
	if l.spare == nil && now.Before(l.waitsUntil()) {
		return false
	}
	// Of two connections to one place the transport may not know which is which.
	if l.spare != nil || l.stalled() {
		return true
	}
	l.lookAt = now.Add(l.sender.DoubtTime() / doubtLooks)
	return false
}

// waitsUntil is how long a connection is waited for that has taken the place of another: if the peer has got nothing since, it is slow for a
// reason that another connection does not mend, such as a machine with too much to do, and may add to. Zero: the peer has got something. The caller
// holds io and mu.
func (l *Link) waitsUntil() (until time.Time) {
	if l.gotAt().After(l.replacedAt) {
		l.replaced = 0
	}
	if l.replaced > 0 {
		until = l.replacedAt.Add(l.sender.DoubtTime() << l.replaced)
	}
	return until
}

// stalled reports whether the connection does not stand, or nothing of what is on its way was acknowledged for a while, not even
// by the peer's machine.
func (l *Link) stalled() bool { return transport.Stalled(l.conn, l.sender.DoubtTime()) }

// replaceStalled begins another connection beside one that is stalled, and lets it take its place as soon as it stands: where the path
// does not pass at all, the one that there is goes on as soon as any would. If that does so meanwhile, the other is dropped. The
// caller holds io.
func (l *Link) replaceStalled() {
	l.mu.Lock()
	to, at, now := l.route.dialed, l.doubtsAt(), time.Now()
	l.mu.Unlock()
	if at.IsZero() || now.Before(at) {
		l.dropSpare() // what was written has been acknowledged after all
		return
	}
	if l.spare == nil {
		l.spareAt, l.lookAt = now, now.Add(spareInterval)
		// Where it cannot even be begun, the one that there is may do so all the same.
		l.spare, _ = l.cfg.Dial(l.id, to)
		return
	}
	l.lookAt = now.Add(max(spareInterval, now.Sub(l.spareAt)/spareShare))
	if l.spare.Wait(time.Now().Add(spareWait)) != nil {
		return
	}
	l.mu.Lock()
	old := l.conn
	l.attend(l.spare)
	l.spare = nil
	now = time.Now()
	l.replacedAt, l.replaced = now, min(l.replaced+1, replacedMost)
	l.sender.Left(now)
	l.sender.Dialed(true, now)
	l.sender.Writable(now)
	l.settle()
	l.mu.Unlock()
	l.hangUp(old, 0)
}

// dropSpare gives up the other connection, if there is one. The caller holds io.
func (l *Link) dropSpare() {
	if l.spare != nil {
		l.hangUp(l.spare, 0)
		l.spare = nil
	}
}
