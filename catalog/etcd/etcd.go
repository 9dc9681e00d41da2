// Package etcd keeps who is in a cluster in etcd, so that all servers have it from one place and new ones get
// an id there. A Store is a peercatalog.Source, which a node follows as Config.Source; its Join, JoinAs,
// Update and Leave change the cluster.
//
// # Keys
//
// The entry of the server with the id 3 is at /cluster/demo/peers/3, where demo is the name of the cluster and
// /cluster is Options.Prefix. It is the JSON of an entry of Config.json, and may be put there by other means
// too, such as etcdctl. At /cluster/demo/given/3 is a mark that says that the id was given to a server once:
// Join gives no such id again.
//
// # Faults
//
// While etcd cannot be reached, running servers go on with those that they knew last. An entry that cannot be
// used, or entries that contradict one another, are an error as a whole: nothing of what is in etcd takes effect
// then, until it is right.
//
// # Trust
//
// Who may write below /cluster/demo/ decides who is in the cluster, and with which keys. Who may read there learns
// addresses and public keys; secret keys are never there. Grant both by roles of etcd, and use TLS: they are
// options of the client that New is given.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/abhishekg16/cluster/peercatalog"
)

// Options are what New need not be told.
type Options struct {
	// Prefix begins all keys. The default is "/cluster".
	Prefix string
	// Timeout is how long a request to etcd may take. The default is 5 s.
	Timeout time.Duration
	// Reconcile is how often a node that follows the Store reads all of it, though nothing is known to have
	// changed: so it finds out whether etcd can be reached, and what a watch has missed. The default is
	// 30 s. Negative means never.
	Reconcile time.Duration
}

const (
	defaultPrefix    = "/cluster"
	defaultTimeout   = 5 * time.Second
	defaultReconcile = 30 * time.Second
)

// A Store is the part of etcd that one cluster has. All its methods may be called concurrently, and several
// nodes of a process may follow the same Store.
type Store struct {
	client    *clientv3.Client
	root      string // begins and ends all keys' common part with a slash
	timeout   time.Duration
	reconcile time.Duration
}

var _ peercatalog.Source = (*Store)(nil)

// New returns the Store of the cluster with this name, to which it does not connect yet. The caller owns the
// client, and closes it after the nodes that follow the Store. How to reach etcd, TLS, and who to be there are
// options of the client: see clientv3.Config. The error says what is wrong with the name or the options.
func New(client *clientv3.Client, cluster string, opts Options) (*Store, error) {
	var faults []error
	if client == nil {
		faults = append(faults, errors.New("etcd: the client is nil: want one that clientv3.New has returned"))
	}
	if cluster == "" || strings.ContainsFunc(cluster, func(c rune) bool { return c == '/' || unicode.IsControl(c) }) {
		faults = append(faults, fmt.Errorf(`etcd: the name of the cluster is %.120q: want one without / and control characters, for example "demo"`, cluster))
	}
	prefix := strings.TrimRight(opts.Prefix, "/")
	switch {
	case opts.Prefix == "":
		prefix = defaultPrefix
	case prefix == "" || strings.ContainsFunc(prefix, unicode.IsControl):
		faults = append(faults, fmt.Errorf(`etcd: the prefix is %.120q: want one such as "/cluster"`, opts.Prefix))
	}
	s := &Store{client: client, root: prefix + "/" + cluster + "/", timeout: opts.Timeout, reconcile: opts.Reconcile}
	switch {
	case s.timeout == 0:
		s.timeout = defaultTimeout
	case s.timeout < 0:
		faults = append(faults, fmt.Errorf("etcd: the timeout is %v: want more than 0, or 0 for the default of %v", s.timeout, defaultTimeout))
	}
	if s.reconcile == 0 {
		s.reconcile = defaultReconcile
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return s, nil
}

// String implements peercatalog.Source: etcd and where in it.
func (s *Store) String() string { return "etcd " + strings.TrimSuffix(s.root, "/") }

// Load implements peercatalog.Source: all entries, as they are in etcd at one revision. It returns within
// Options.Timeout.
func (s *Store) Load(ctx context.Context) ([]peercatalog.Peer, error) {
	r, err := s.get(ctx, s.root+peersDir, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	st, err := s.parse(r)
	if err != nil {
		return nil, err
	}
	return st.list(), nil
}

// Watch implements peercatalog.Source. It ends early if etcd refuses to go on, for example where the
// member of etcd that is asked has no leader.
func (s *Store) Watch(ctx context.Context, changed func()) error {
	for {
		err := s.watch(ctx, changed)
		// What is compacted cannot be watched from where it was left: what there is has to be looked at again.
		if !errors.Is(err, rpctypes.ErrCompacted) {
			return err
		}
	}
}

// watch is Watch from the present revision on.
func (s *Store) watch(ctx context.Context, changed func()) error {
	r, err := s.get(ctx, s.root+peersDir, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return err
	}
	ending, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	events := s.client.Watch(ending, s.root+peersDir, clientv3.WithPrefix(), clientv3.WithRev(r.Header.Revision+1))
	var tick <-chan time.Time
	if s.reconcile > 0 {
		t := time.NewTicker(s.reconcile)
		defer t.Stop()
		tick = t.C
	}
	changed()
	for {
		select {
		case w, ok := <-events:
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case w.Err() != nil:
				return fmt.Errorf("etcd: watching %s: %w", s.root+peersDir, w.Err())
			case !ok:
				return fmt.Errorf("etcd: watching %s: the watch has ended", s.root+peersDir)
			case len(w.Events) > 0:
				changed()
			}
		case <-tick:
			changed()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// get asks etcd for keys, within the timeout of a request.
func (s *Store) get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	r, err := s.client.Get(ctx, key, opts...)
	if err != nil {
		// The client waits longer and longer before it dials again, up to two minutes. Who asks paces that here.
		if c := s.client.ActiveConnection(); c != nil {
			c.ResetConnectBackoff()
		}
		return nil, fmt.Errorf("etcd: reading %s: %w", key, err)
	}
	return r, nil
}
