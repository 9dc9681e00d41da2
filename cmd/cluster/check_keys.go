package main

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/abhishekg16/cluster/internal/curve"
	"github.com/abhishekg16/cluster/internal/keyfile"
)

// keyPath is where the secret key of a server should be.
func (r *report) keyPath(s *serverReport) string {
	path := keyfile.Path(r.File, r.keyDir, s.ID)
	if s.ID == r.id {
		path = cmp.Or(r.keyFile, os.Getenv(keyfile.Variable), path)
	}
	return path
}

// anyKey returns the keys of a server to ask the others with: those of the server whose
// machine this is, if they are here, or those of any other; or nil.
func (r *report) anyKey() *credentials {
	inOrder := slices.Clone(r.Servers)
	if i := slices.IndexFunc(inOrder, func(s *serverReport) bool { return s.ID == r.id }); i > 0 {
		inOrder[0], inOrder[i] = inOrder[i], inOrder[0]
	}
	for _, s := range inOrder {
		secret, err := keyfile.Read(r.keyPath(s))
		if err != nil {
			continue // checkKeys reports it
		}
		public, err := curve.Public(secret)
		if err != nil || !slices.Contains(s.peer.Keys(), public) {
			continue
		}
		if c, err := newCredentials(secret); err == nil {
			return c
		}
	}
	return nil
}

// checkKeys looks at the key files that are here, and at those that must be.
func (r *report) checkKeys() {
	owner := make(map[string]int)
	for _, s := range r.Servers {
		for _, k := range s.peer.Keys() {
			owner[k] = s.ID
		}
	}
	for _, s := range r.Servers {
		path := r.keyPath(s)
		r.checkKey(s, path, owner)
		r.checkNext(s, path)
	}
}

// checkNext looks at the key that is to take the place of the one at path, if there is one. It may be left of a change that
// was given up, and then it would shut the server out.
func (r *report) checkNext(s *serverReport, path string) {
	next := path + nextKey
	secret, err := keyfile.Read(next)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	public := ""
	if err == nil {
		public, err = curve.Public(secret)
	}
	switch {
	case err != nil:
		r.note("key", s, "%s cannot take the place of %s: %v", next, path, err)
	case public == s.peer.PublicKey:
		r.note("key", s, "%s waits to take the place of %s", next, path)
	default:
		r.note("key", s, "%s must not take the place of %s: it is not the key of the entry, but left of a change that was given up; delete it", next, path)
	}
}

func (r *report) checkKey(s *serverReport, path string, owner map[string]int) {
	secret, err := keyfile.Read(path)
	listed := len(s.peer.Keys()) > 0
	if errors.Is(err, fs.ErrNotExist) {
		if !listed {
			return
		}
		s.Key = "not here"
		if s.ID == r.id || r.id == noID && s.onlyHere() {
			s.Key = "bad"
			r.fault("key", s, "%s: there is no such file, and the server cannot start without its key", path)
		}
		return
	}
	s.Key = "bad"
	if err != nil {
		r.fault("key", s, "%v", err)
		return
	}
	r.checkClock(path, "key", s)
	public, err := curve.Public(secret)
	switch other, known := owner[public]; {
	case err != nil:
		r.fault("key", s, "%s: %v", path, err)
	case !r.Keys:
		s.Key = "-"
		r.note("key", s, "%s is there, but the configuration has no public keys: the servers talk in plaintext", path)
	case !listed:
		s.Key = "-"
		r.note("key", s, "%s is there: cluster keygen puts its public key into the entry", path)
	case slices.Contains(s.peer.Keys(), public):
		s.Key = "ok"
		if public == s.peer.PreviousPublicKey {
			s.Key = "ok, the previous one"
		}
	case known:
		r.fault("key", s, "%s: this is the key of server %d", path, other)
	default:
		r.fault("key", s, "%s: its public key is %s, and the entry of server %d has %q", path, public, s.ID, s.peer.Keys())
	}
}
