package cluster

import "github.com/abhishekg16/cluster/internal/incoming"

// What the tests of package cluster_test see of the inside.
const (
	MinQueueBytes      = minQueueBytes
	DefaultSendTimeout = defaultSendTimeout
	DefaultOutboxSize  = defaultOutboxSize

	MaxGroups   = maxGroups
	FirstGroup  = firstGroup
	DrainTime   = drainTime
	SpreadLeast = spreadLeast
	TurnTime    = turnTime
)

// Err is the error that Send returns for the reason.
func (r Reason) Err() error { return r.err() }

// Lease is who may read the network.
func (n *Node) Lease() *incoming.Lease { return n.in.Lease() }

// Closing is closed when Shutdown has begun.
func (n *Node) Closing() <-chan struct{} { return n.closing }

// Listed is how many nodes New has made that have not closed, and makes now.
func Listed() int {
	running.mu.Lock()
	defer running.mu.Unlock()
	listed := 0
	for _, of := range running.nodes {
		listed += len(of)
	}
	return listed
}

// ParseConfig reads a configuration that is said to be of a file.
func ParseConfig(file string, text []byte) (Config, error) { return parseConfig(file, text) }

// Prepared is the configuration with its defaults, checked.
func (c Config) Prepared() (Config, error) { return c.prepared() }

// SameConfig compares two Configs as config_test.go does.
var SameConfig = sameConfig

// OpenCalls is how many calls to a server have not ended.
func OpenCalls(n *Node, pid int) int { return n.calls.Peer(pid).Open() }
