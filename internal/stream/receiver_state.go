package stream

// StreamState is how a Receiver stands to what its peer sends.
type StreamState uint8

const (
	Unheard  StreamState = iota // nothing has come yet
	InOrder                     // all that has come was in its place
	Gap                         // something is missing, and what came behind it waits
	Handover                    // frames of the peer's next life wait for the last of this one
)

// Arrival is how a frame stands to the stream.
type Arrival uint8

const (
	OfEarlierLife      Arrival = iota // of a life of the peer that another has replaced
	OfEarlierLifeAlone                // the same, when such came for returnTime and none of the present one
	InPlace                           // it begins where the stream stands
	Early                             // it begins later
	Late                              // it begins earlier: it had come, or was given up
	Repeated                          // the same, of a peer that sends again what may be missing
	OfNextLife                        // of another life, soon after the present one was heard
	OfNextLifeLater                   // of another life, when the present one was silent for HoldTime
	arrivals
)

// Verdict is what is done with a frame.
type Verdict uint8

const (
	Take       Verdict = iota // it leaves the stream
	Hold                      // it waits for what is missing before it
	HoldNext                  // it waits for its life to begin
	Begin                     // its life begins with it
	Skip                      // it is without effect
	RefuseSeq                 // refused as RefusedSequence
	RefuseLife                // refused as RefusedIncarnation
	Return                    // its life is the present one again
)

// judge decides what is done with a frame:
//
//	            Unheard  InOrder     Gap         Handover
//	of earlier  -        RefuseLife  RefuseLife  RefuseLife
//	… alone     -        Return      Return      RefuseLife
//	in place    -        Take        Take        Take
//	early       -        Hold        Hold        Hold
//	late        -        RefuseSeq   RefuseSeq   RefuseSeq
//	repeated    -        Skip        Skip        Skip
//	of next     Begin    HoldNext    HoldNext    HoldNext
//	… later     Begin    Begin       Begin       Begin
//
// The states change with what is held: to Gap with the first Hold, to Handover with the first HoldNext, and
// back when what was missing has come or is given up, and when the next life begins. What is missing is given up
// when the first frame behind it has waited for HoldTime, the next life begins when its first has, and both
// happen sooner when more would be held than the window.
//
// Which of two lives is the later one does not show. So a life that was heard first may be replaced by a frame of an older one that
// had been under way for longer. Then it comes alone from then on, and returns.
func judge(s StreamState, a Arrival) Verdict {
	switch a {
	case OfEarlierLife:
		return RefuseLife
	case OfEarlierLifeAlone:
		if s != Handover {
			return Return
		}
		return RefuseLife
	case InPlace:
		return Take
	case Early:
		return Hold
	case Late:
		return RefuseSeq
	case Repeated:
		return Skip
	case OfNextLife:
		if s != Unheard {
			return HoldNext
		}
	}
	return Begin
}
