// Package freeport finds ports for servers of tests.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

const (
	// lowest is the first port that is given out. All are below those that the system gives to connections: of these another one may be
	// taken before the server listens, or by a connection to itself of who waits for it there.
	lowest = 12_000
	// blockPorts is how many ports a process has for itself, one of which it keeps, to show that they are its own.
	blockPorts = 250
	blocks     = 80
)

// own are the ports of this process.
var own struct {
	sync.Mutex
	first int          // of the block; 0: it has none yet
	guard net.Listener // on the first; as long as the process runs
	at    int          // the one that was given out last, counted from first
}

// Listen listens on a port of 127.0.0.1 that nobody uses. When the listener is closed, the port stays free for whom it is meant for: no other process
// is given it as long as this one runs, and this one is given about 250 others before it comes again.
func Listen() (net.Listener, error) {
	own.Lock()
	defer own.Unlock()
	if own.first == 0 {
		claim(rand.Perm(blocks))
	}
	if own.first == 0 {
		return net.Listen("tcp", "127.0.0.1:0") // too many processes are at it
	}
	for range blockPorts {
		own.at = own.at%(blockPorts-1) + 1
		if l, err := listen(own.first + own.at); err == nil {
			return l, nil
		}
	}
	return net.Listen("tcp", "127.0.0.1:0")
}

// claim takes the first of some blocks of ports that no other process has. The caller holds own.
func claim(order []int) {
	for _, block := range order {
		first := lowest + block*blockPorts
		if l, err := listen(first); err == nil {
			own.first, own.guard = first, l
			return
		}
	}
}

func listen(port int) (net.Listener, error) {
	return net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
}
