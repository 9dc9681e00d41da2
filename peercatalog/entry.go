package peercatalog

import (
	"errors"
	"fmt"
	"strings"

	"github.com/abhishekg16/cluster/internal/curve"
)

// An entry is a peer with its endpoints, which take longer to make than to compare. It
// is never changed.
type entry struct {
	Peer
	index int // in the list that New was given

	dial, bind       string // empty if the address, or Bind, is unusable
	dialErr, bindErr error
}

// newEntry makes an entry that shares p's Extra.
func newEntry(p Peer) *entry {
	e := &entry{Peer: p}
	e.dial, e.dialErr = endpoint(p.Address, forDialing)
	if p.Bind == "" {
		e.bind = e.dial
	} else {
		e.bind, e.bindErr = endpoint(p.Bind, forBinding)
	}
	return e
}

// A fault is one thing that is wrong with a peer by itself.
type fault struct {
	field string
	err   error
}

// check returns what is wrong with the peer by itself.
func (e *entry) check() (faults []fault) {
	add := func(field, format string, args ...any) {
		faults = append(faults, fault{field, fmt.Errorf(format, args...)})
	}
	if e.ID < 0 || e.ID > MaxID {
		add("id", "id %d is out of range: want 0 to %d", e.ID, MaxID)
	}
	switch {
	case e.Address == "":
		add("address", "address is missing: want %s", forDialing.want)
	case e.dialErr != nil:
		add("address", "address %.120q: %w", e.Address, e.dialErr)
	}
	switch {
	case e.bindErr != nil:
		add("bind", "bind %.120q: %w", e.Bind, e.bindErr)
	case e.dialErr == nil && scheme(e.bind) != scheme(e.dial):
		add("bind", "bind %.120q: the scheme %s is not that of the address: want %s", e.Bind, scheme(e.bind), scheme(e.dial))
	}
	return append(faults, e.checkKeys()...)
}

func scheme(endpoint string) string {
	s, _, _ := strings.Cut(endpoint, "://")
	return s
}

func (e *entry) checkKeys() (faults []fault) {
	const present, previous = "public_key", "previous_public_key"
	for _, k := range []struct{ name, key string }{{present, e.PublicKey}, {previous, e.PreviousPublicKey}} {
		if k.key == "" {
			continue
		}
		if _, err := curve.DecodePublic(k.key); err != nil {
			faults = append(faults, fault{k.name, fmt.Errorf("%s %.60q: %w", k.name, k.key, err)})
		}
	}
	switch {
	case e.PreviousPublicKey == "":
	case e.PublicKey == "":
		faults = append(faults, fault{previous, errors.New("previous_public_key without public_key: want the key that the server uses from now on as public_key")})
	case e.PublicKey == e.PreviousPublicKey:
		faults = append(faults, fault{previous, errors.New("previous_public_key is the same as public_key: leave it out")})
	}
	return faults
}
