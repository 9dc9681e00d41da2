package stream

import "slices"

// State is what a Sender knows of the way to its peer: two facts, of which each event changes
// one or both. See decide.
type State struct {
	Peer PeerState
	Path PathState
}

// PeerState is whether the peer takes what it is sent. Whether its node answers is another fact: see ReachState.
type PeerState uint8

const (
	Idle       PeerState = iota // there is no such peer
	Connecting                  // it has not taken anything yet
	Up                          // its connection took the last that was sent
	Down                        // it took nothing for as long as the policy allows; it is up again as soon as its connection takes a frame
	Starved                     // the same with its window closed: only a word of the peer ends it
)

// PathState is whether the connection takes frames.
type PathState uint8

const (
	NoPath  PathState = iota // there is no connection
	Clear                    // it took the last frame, or none was tried
	Blocked                  // it took none, and has not said since that it would
	Ready                    // it took none, and would take one now
)

// Event is what happens to the way to a peer.
type Event uint8

const (
	Vanished  Event = iota // the catalogue has no such peer any more
	Appeared               // the catalogue has it
	Left                   // the connection was left
	Dialed                 // a connection to where the peer is now was begun
	Redialed               // another connection to the same place was begun
	Failed                 // no connection could be begun, or it failed for good
	Took                   // the connection took a frame
	Full                   // the connection took no frame
	Writable               // the connection says that it would take one now
	Exhausted              // the patience ended while something was to be written
	Throttled              // the same, with the peer's window closed
	Heard                  // the peer has acknowledged something, or says that its program takes
	Began                  // a new life of the peer was heard
	Looked                 // time to decide what to do next
	events
)

// decide is the state after an event. It holds all transitions:
//
//	event      peer                              path
//	Vanished   → Idle
//	Appeared   Idle → Connecting
//	Left       Starved → Down                    → NoPath
//	Dialed     all but Idle → Connecting         → Clear
//	Redialed                                     → Blocked
//	Failed     all but Idle → Down               → NoPath
//	Took       Connecting → Up                   → Clear
//	Full                                         → Blocked
//	Writable                                     Blocked → Ready
//	Exhausted  Connecting, Up → Down
//	Throttled  Connecting, Up → Starved
//	Heard      Starved → Down
//	Began      Down, Starved → Connecting
//	Looked     Down → Up if Clear or Ready       Ready → Clear if Down or Starved
//
// What is not in it leaves the state as it is. Only the catalogue ends Idle: a connection that was being made
// when the peer was removed is of no account. For a peer that is down, Ready becomes Clear without a frame that
// was taken, since nothing is queued that would try the connection.
//
// Time is no argument: when a time is over is for Next to see, and comes here as an event (Exhausted, Throttled, Looked).
func decide(s State, e Event) State {
	switch e {
	case Vanished:
		s.Peer = Idle
	case Appeared:
		s.Peer = from(s.Peer, Connecting, Idle)
	case Left:
		return State{from(s.Peer, Down, Starved), NoPath}
	case Dialed:
		return State{from(s.Peer, Connecting, Up, Down, Starved), Clear}
	case Redialed, Full:
		s.Path = Blocked
	case Failed:
		return State{from(s.Peer, Down, Connecting, Up, Starved), NoPath}
	case Took:
		return State{from(s.Peer, Up, Connecting), Clear}
	case Writable:
		if s.Path == Blocked {
			s.Path = Ready
		}
	case Exhausted:
		s.Peer = from(s.Peer, Down, Connecting, Up)
	case Throttled:
		s.Peer = from(s.Peer, Starved, Connecting, Up)
	case Heard:
		s.Peer = from(s.Peer, Down, Starved)
	case Began:
		s.Peer = from(s.Peer, Connecting, Down, Starved)
	case Looked:
		if isDown(s.Peer) && s.Path == Ready {
			s.Path = Clear
		}
		if s.Path == Clear {
			s.Peer = from(s.Peer, Up, Down)
		}
	}
	return s
}

// from is to if the state is one of those, or else what it was.
func from(state, to PeerState, those ...PeerState) PeerState {
	if slices.Contains(those, state) {
		return to
	}
	return state
}

// Phase is how far a Sender is from its end.
type Phase uint8

const (
	Open     Phase = iota // it takes messages
	Draining              // it takes none, and ends when all that it has is written, and known to have come if the peer says so
	Cut                   // it ends at once, and drops what it has
)
