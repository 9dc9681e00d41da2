package etcd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/abhishekg16/cluster/peercatalog"
)

// ErrUnknown says that no server with the id is in the Store.
var ErrUnknown = errors.New("etcd: no server has the id")

// Join adds a server under an id that no server has, or has had by Join or JoinAs, and returns that; what p
// has as its ID does not count. Of servers that join at the same time no two get the same. The id is the
// server's until Leave, also while it does not run: a program keeps it, or finds it by its address in what Load
// returns, and joins once only.
//
// Join blocks until ctx ends at most. Nothing has changed if the error says what is wrong with p beside
// the other servers: the same address or key as another, a key where they have none. Where etcd does not answer, p
// may have been added all the same.
func (s *Store) Join(ctx context.Context, p peercatalog.Peer) (int, error) {
	err := s.add(ctx, &p, func(st *state) (err error) {
		p.ID, err = st.free()
		return err
	})
	if err != nil {
		return 0, err
	}
	return p.ID, nil
}

// JoinAs is Join with the id that p has, which may be one that another server has given up. If a server
// has it the error is peercatalog.ErrExists.
func (s *Store) JoinAs(ctx context.Context, p peercatalog.Peer) error {
	return s.add(ctx, &p, func(st *state) error {
		if _, taken := st.peers[p.ID]; taken {
			return fmt.Errorf("etcd: %w: server %d of %s", peercatalog.ErrExists, p.ID, s)
		}
		return nil
	})
}

// add puts *p into the Store, after choose has given it its id.
func (s *Store) add(ctx context.Context, p *peercatalog.Peer, choose func(*state) error) error {
	// It tells a server of its own from that of somebody else with the same entry, where the answer to the
	// transaction was lost.
	mark := rand.Text()
	tried := make(map[int]bool)
	return s.change(ctx, func(st *state) ([]clientv3.Op, error) {
		for id := range tried {
			if st.given[id] == mark {
				p.ID = id
				return nil, nil
			}
		}
		if err := choose(st); err != nil {
			return nil, err
		}
		tried[p.ID] = true
		put, err := s.put(st, *p)
		return append(put, clientv3.OpPut(s.key(givenDir, p.ID), mark)), err
	})
}

// Update changes the entry of the server with the id, as change does with a copy of it: its address, its
// keys, whether it is an observer, the program's own fields. It may be called several times, where others change
// the cluster at the same time; an error of its own ends Update and is returned. If there is no such server
// the error is ErrUnknown; otherwise errors are those of Join.
func (s *Store) Update(ctx context.Context, id int, change func(*peercatalog.Peer) error) error {
	return s.change(ctx, func(st *state) ([]clientv3.Op, error) {
		was, ok := st.peers[id]
		if !ok {
			return nil, s.unknown(id)
		}
		p := was.Clone()
		if err := change(&p); err != nil {
			return nil, err
		}
		if p.ID != id {
			return nil, fmt.Errorf("etcd: server %d of %s: its id was changed to %d: want Leave and JoinAs", id, s, p.ID)
		}
		return s.put(st, p)
	})
}

// Leave takes the server with the id out. Join gives the id to no other; JoinAs does. Close the server
// first: while it runs it refuses what lists it no more. If there is no such server the error is ErrUnknown.
func (s *Store) Leave(ctx context.Context, id int) error {
	tried, before := false, "" // the mark that the server had when this was tried first
	return s.change(ctx, func(st *state) ([]clientv3.Op, error) {
		_, there := st.peers[id]
		mark := st.given[id]
		switch {
		case tried && (!there || mark != before):
			return nil, nil // it is done, and the answer was lost; somebody else may have the id by now
		case !there:
			return nil, s.unknown(id)
		}
		tried, before = true, mark
		if mark == "" {
			mark = rand.Text() // it was put there by other means
		}
		return []clientv3.Op{clientv3.OpDelete(s.key(peersDir, id)), clientv3.OpPut(s.key(givenDir, id), mark)}, nil
	})
}

func (s *Store) unknown(id int) error { return fmt.Errorf("%w: %d in %s", ErrUnknown, id, s) }

func (s *Store) key(dir string, id int) string { return s.root + dir + strconv.Itoa(id) }

// put is what to do to have p in the Store, or what is wrong with it beside the others.
func (s *Store) put(st *state, p peercatalog.Peer) ([]clientv3.Op, error) {
	st.peers[p.ID] = p
	if err := st.check(); err != nil {
		return nil, fmt.Errorf("etcd: %s: %w", s, err)
	}
	text, err := encode(p)
	if err != nil {
		return nil, fmt.Errorf("etcd: %s: server %d: %w", s, p.ID, err)
	}
	return []clientv3.Op{clientv3.OpPut(s.key(peersDir, p.ID), text)}, nil
}

// How long change waits before it tries again what others have been in the way of: about this at first, and
// twice as long each time.
const (
	waitLeast = 5 * time.Millisecond
	waitMost  = 500 * time.Millisecond
)

// change does what decide says for the state as it is, if that is still so; otherwise it asks again. decide
// returns nothing to do if all is done.
func (s *Store) change(ctx context.Context, decide func(*state) ([]clientv3.Op, error)) error {
	var lost error // why the answer to the last transaction did not come
	for wait := waitLeast; ; wait = min(2*wait, waitMost) {
		r, err := s.get(ctx, s.root, clientv3.WithPrefix())
		if err != nil {
			return errors.Join(lost, err)
		}
		st, err := s.parse(r)
		if err != nil {
			return err
		}
		ops, err := decide(st)
		if err != nil || len(ops) == 0 {
			return err
		}
		done, err := s.commit(ctx, st.revision, ops)
		if done {
			return nil
		}
		if err != nil && lost != nil {
			return err
		}
		lost = err // if it is one, all may have been done nevertheless: the state tells
		select {
		case <-time.After(wait/2 + mathrand.N(wait)):
		case <-ctx.Done():
			return errors.Join(lost, fmt.Errorf("etcd: changing %s: %w", s, ctx.Err()))
		}
	}
}

// commit does all of ops, if nothing of the cluster has changed since the revision. It reports whether it has.
func (s *Store) commit(ctx context.Context, revision int64, ops []clientv3.Op) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	unchanged := clientv3.Compare(clientv3.ModRevision(s.root), "<", revision+1).WithPrefix()
	r, err := s.client.Txn(ctx).If(unchanged).Then(ops...).Commit()
	if err != nil {
		return false, fmt.Errorf("etcd: changing %s: %w", s, err)
	}
	return r.Succeeded, nil
}
