package stream

// Reason says why a message for a peer is dropped.
type Reason uint8

// The reasons. The zero value is none.
const (
	UnknownPeer Reason = iota + 1 // the catalogue has no such server
	Unreachable                   // the peer is down
	TimedOut                      // it has taken nothing for as long as the policy allows, or the queue is full
	Closed                        // the node closes
	Reasons                       // how many there are, and one
)

// Refusal says why something that came is not delivered.
type Refusal uint8

// The refusals. The zero value is none. Those of a frame's head are found by package incoming, those of
// its place in the stream here, and those of one message by package delivery.
const (
	RefusedVersion      Refusal = iota + 1 // another version of the format
	RefusedMalformed                       // it breaks the format
	RefusedCluster                         // of another cluster
	RefusedDestination                     // for another server
	RefusedSender                          // of a server that the catalogue does not have
	RefusedIncarnation                     // of an earlier life of the peer, or of another server with its id
	RefusedSequence                        // it had come before, or comes too late
	RefusedWindow                          // beyond what the peer may have on its way
	RefusedTooLarge                        // larger than the largest message
	RefusedUnregistered                    // of a type that is not registered here
	RefusedUndecodable                     // its kind or type cannot be read from it
	RefusedClosed                          // not taken by the program before the node was closed
	RefusedKey                             // of a key that no peer has
	RefusedIdentity                        // it names another sender than the one whose key was proved
	RefusedHandshake                       // a connection that was not set up
	RefusedLate                            // a reply for which no call waits
	Refusals                               // how many there are, and one
)
