package peercatalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/abhishekg16/cluster/internal/curve"
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
	// Extra holds the program's own fields of the entry, by name, as JSON.
	// Reading and writing a whole configuration keeps them; encoding/json,
	// used on a Peer alone, does not.
	Extra map[string]json.RawMessage `json:"-"`
}

// Validate reports everything that is wrong with the peer, as one error that
// joins one error for each fault (see errors.Join), or nil.
func (p Peer) Validate() error {
	var faults []error
	if p.ID < 0 || p.ID > MaxID {
		faults = append(faults, fmt.Errorf("id %d is out of range: want 0 to %d", p.ID, MaxID))
	}
	dial, err := endpoint(p.Address, forDialing)
	if p.Address == "" {
		faults = append(faults, errors.New("address is missing: want "+forDialing.want))
	} else if err != nil {
		faults = append(faults, fmt.Errorf("address %.120q: %w", p.Address, err))
	}
	if p.Bind != "" {
		bind, bindErr := endpoint(p.Bind, forBinding)
		if bindErr != nil {
			faults = append(faults, fmt.Errorf("bind %.120q: %w", p.Bind, bindErr))
		} else if err == nil && scheme(bind) != scheme(dial) {
			faults = append(faults, fmt.Errorf("bind %.120q: the scheme %s is not that of the address: want %s", p.Bind, scheme(bind), scheme(dial)))
		}
	}
	return errors.Join(append(faults, p.checkKeys()...)...)
}

func (p Peer) checkKeys() (faults []error) {
	for _, k := range []struct{ name, key string }{
		{"public_key", p.PublicKey}, {"previous_public_key", p.PreviousPublicKey},
	} {
		if k.key == "" {
			continue
		}
		if err := curve.Check(k.key); err != nil {
			faults = append(faults, fmt.Errorf("%s %.60q: %w", k.name, k.key, err))
		}
	}
	switch {
	case p.PreviousPublicKey == "":
	case p.PublicKey == "":
		faults = append(faults, errors.New("previous_public_key without public_key: want the key that the server uses from now on as public_key"))
	case p.PublicKey == p.PreviousPublicKey:
		faults = append(faults, errors.New("previous_public_key is the same as public_key: leave it out"))
	}
	return faults
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
	if p.PublicKey != q.PublicKey || p.PreviousPublicKey != q.PreviousPublicKey {
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

func scheme(endpoint string) string {
	s, _, _ := strings.Cut(endpoint, "://")
	return s
}
