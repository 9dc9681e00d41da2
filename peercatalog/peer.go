package peercatalog

import (
	"bytes"
	"encoding/json"
	"errors"
)

// MaxID is the largest id that a peer may have; the smallest is 0.
const MaxID = 65535

// Peer is what a cluster knows about one of its servers.
type Peer struct {
	// ID is unique in the cluster, from 0 to MaxID.
	ID int `json:"id"`
	// Address is where the others reach the server: host:port, [v6]:port,
	// tcp://host:port, ipc://path (between processes of one machine), or
	// mem://name (inside one process). No two peers have the same.
	Address string `json:"address"`
	// Bind is where the server listens if that is not its Address: behind a
	// translated address, say, or *:port for all interfaces. It has the scheme
	// of Address. Empty means Address.
	Bind string `json:"bind,omitempty"`
	// PublicKey is the server's public key: 40 characters in Z85. It is given for
	// all peers of a cluster or for none: with keys, only the servers that are
	// listed get in, each as itself alone, and all that leaves a process is
	// encrypted. No two peers have the same.
	PublicKey string `json:"public_key,omitempty"`
	// PreviousPublicKey is one more key that the server may have: while it goes
	// from one to another, some servers may know only the one, and it itself may
	// still use it.
	PreviousPublicKey string `json:"previous_public_key,omitempty"`
	// Observer says that the server is one beside the cluster, such as a command-line tool: it may
	// send, and be sent to by its id, but is in no list of Peers, gets no BROADCAST, and counts in no
	// majority. All servers of a cluster must have it the same.
	Observer bool `json:"observer,omitempty"`
	// Extra holds the program's own fields of the entry, by name, as JSON.
	// Reading and writing a whole configuration keeps them; encoding/json,
	// used on a Peer alone, does not.
	Extra map[string]json.RawMessage `json:"-"`
}

// Validate reports everything that is wrong with the peer, as one error that
// joins one error for each fault (see errors.Join), or nil.
func (p Peer) Validate() error {
	var faults []error
	for _, f := range newEntry(p).check() {
		faults = append(faults, f.err)
	}
	return errors.Join(faults...)
}

// Keys are the public keys that the server may have, PublicKey first; none if the
// cluster has no keys.
func (p Peer) Keys() (keys []string) {
	for _, k := range []string{p.PublicKey, p.PreviousPublicKey} {
		if k != "" {
			keys = append(keys, k)
		}
	}
	return keys
}

// DialEndpoint returns the address in its normal form, which has a scheme:
// 127.0.0.1:8081 becomes tcp://127.0.0.1:8081. Two addresses are the same if
// their normal forms are. It is empty if the address is unusable.
func (p Peer) DialEndpoint() string {
	e, _ := endpoint(p.Address, forDialing)
	return e
}

// BindEndpoint returns, in the same form, where the server is to listen: Bind,
// or Address if Bind is empty. The host may be * there, or a name.
func (p Peer) BindEndpoint() string {
	if p.Bind == "" {
		return p.DialEndpoint()
	}
	e, _ := endpoint(p.Bind, forBinding)
	return e
}

// Clone returns a copy that shares no memory with p. An empty Extra becomes nil.
func (p Peer) Clone() Peer {
	if len(p.Extra) == 0 {
		p.Extra = nil
		return p
	}
	extra := make(map[string]json.RawMessage, len(p.Extra))
	for name, value := range p.Extra {
		extra[name] = bytes.Clone(value)
	}
	p.Extra = extra
	return p
}

func (p Peer) equal(q Peer) bool {
	if p.ID != q.ID || p.Address != q.Address || p.Bind != q.Bind || len(p.Extra) != len(q.Extra) {
		return false
	}
	if p.PublicKey != q.PublicKey || p.PreviousPublicKey != q.PreviousPublicKey || p.Observer != q.Observer {
		return false
	}
	for name, value := range p.Extra {
		other, ok := q.Extra[name]
		if !ok || !bytes.Equal(value, other) {
			return false
		}
	}
	return true
}
