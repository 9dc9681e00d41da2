package cluster

// LinkState is what is known of the way to a peer. It is made of two facts: whether the peer's node answers, and whether its
// program takes what it is sent. It is this node's own view, and no consensus about who is alive.
type LinkState int

const (
	LinkIdle       LinkState = iota // nothing was sent to the peer yet
	LinkConnecting                  // the peer has not answered yet
	LinkUp                          // the peer has acknowledged what was sent, or its time for that is not over
	// LinkDown is a peer of which nothing has shown for three WatchIntervals (3 s) that it can be reached, or that is not connected. Messages for it are dropped
	// once its connection, or its window, has taken none for SendTimeout; those that the connection takes may arrive or not.
	LinkDown
	// LinkStalled is a peer whose node answers, and whose program has taken nothing for SendTimeout. Messages for it are dropped.
	LinkStalled
	// LinkUnacknowledged is a peer that has acknowledged nothing of what was sent for a WatchInterval (1 s), in which nothing moved towards it either. It may be of
	// another cluster, or not list this server; its process may stand still; or the path passes one way only.
	LinkUnacknowledged
)

var linkStateNames = []string{"idle", "connecting", "up", "down", "stalled", "unacknowledged"}

func (s LinkState) String() string { return name(linkStateNames, int(s)) }

// MarshalText gives the state its name in JSON.
func (s LinkState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (s *LinkState) UnmarshalText(text []byte) error {
	return unname(s, "link state", linkStateNames, text)
}
