package peercatalog

import "context"

// A Source says who is in a cluster: a file, a database, a directory service. A node follows the one
// in its configuration (Config.Source of package cluster), and makes what it says its Catalog. What no
// source can change in a running node is the node's to decide and not the source's: see Node.Reload.
//
// All methods may be called concurrently, and several nodes may follow the same Source. The suite
// clustertest.TestSource tests an implementation.
type Source interface {
	// String names the source in logs and in errors, for example by the path of a file. It holds no secrets.
	String() string

	// Load returns all peers that there are now, or an error: never a part of them, nor what it knew
	// before where it cannot find out. It blocks until then, and no longer than until ctx ends. The
	// caller owns what it returns. The peers need not be checked; the error need not name the source.
	Load(ctx context.Context) ([]Peer, error)

	// Watch calls changed once it watches, and then each time that Load may return something else than
	// before; a call too many does no harm. So who loads after each call misses nothing. It may call
	// changed from any goroutine, which never blocks, but not after it has returned.
	//
	// Watch blocks until ctx ends, and then returns the error of ctx; or until it can watch no more, and
	// then returns the reason. The caller calls it again in that case, after a pause.
	Watch(ctx context.Context, changed func()) error
}

// Fixed returns a Source that always says the same. It is of use to what makes a Source of another one,
// such as catalog/dns.
func Fixed(peers ...Peer) Source { return fixed(clones(peers)) }

type fixed []Peer

func (f fixed) String() string { return "a fixed list" }

func (f fixed) Load(ctx context.Context) ([]Peer, error) { return clones(f), ctx.Err() }

func (f fixed) Watch(ctx context.Context, changed func()) error {
	changed()
	<-ctx.Done()
	return ctx.Err()
}

func clones(peers []Peer) []Peer {
	copies := make([]Peer, len(peers))
	for i, p := range peers {
		copies[i] = p.Clone()
	}
	return copies
}
