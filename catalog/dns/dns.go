// Package dns takes the addresses of a cluster's servers from the SRV records of a service, and looks them up again
// and again. Who is in the cluster it does not take from there: the servers are those of a list, whatever an answer
// leaves out. A headless service of Kubernetes may list the pods that are ready, and no others; were they the
// cluster, each side of a network that is cut in two would count itself as a majority.
//
// Where a server is reached by a name of its own, such as demo-0.demo:8081 for a pod of a StatefulSet, this package is
// not needed: a name in an entry's address is looked up anew for each connection.
//
// # Trust
//
// Who can change the answers, or forge them on their way, can send what is for one server to another place. With
// keys nobody there can read it, nor answer (see "Trust" in package cluster); without them the name servers, and the way
// to them, must be trusted.
package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/abhishekg16/cluster/peercatalog"
)

// Options are what New need not be told.
type Options struct {
	// ID returns the id of the server at an SRV record's target, which is a name in lower case with a dot at its
	// end, and false for what is no server of this cluster. It may be called concurrently. The default is the number behind the last - of
	// the target's first part, as StatefulSets have it: 2 for demo-2.demo.default.svc.cluster.local.
	ID func(target string) (id int, ok bool)
	// Interval is how often the records are looked up. The default is 10 s.
	Interval time.Duration
	// Resolver does it. The default is net.DefaultResolver.
	Resolver *net.Resolver
}

const defaultInterval = 10 * time.Second

// A Source is a list of servers with the addresses that DNS has. All its methods may be called concurrently.
type Source struct {
	servers  peercatalog.Source
	service  string
	id       func(string) (int, bool)
	interval time.Duration
	resolver *net.Resolver

	mu    sync.Mutex    // guards what follows
	known map[int]found // what the last answer said that had the server
}

// found is where a server was found.
type found struct {
	listed  string // its address in the list then
	address string
}

var _ peercatalog.Source = (*Source)(nil)

// New returns a Source of the servers that another one lists (peercatalog.Fixed and cluster.FileSource are such), each
// at the address, target and port, of its SRV record of the service, such as
// _cluster._tcp.demo.default.svc.cluster.local. Of several records for one server the one that it had before is kept, and otherwise
// the first by priority, weight and name counts. A server that an answer leaves out keeps the address of
// the last answer that had it, and until there is one, that of the list; so it does if the service has no
// records at all. A server whose own address may change says by Bind where it listens.
//
// The error says what is wrong with the arguments.
func New(servers peercatalog.Source, service string, opts Options) (*Source, error) {
	s := &Source{
		servers:  servers,
		service:  service,
		id:       opts.ID,
		interval: cmp.Or(opts.Interval, defaultInterval),
		resolver: cmp.Or(opts.Resolver, net.DefaultResolver),
		known:    make(map[int]found),
	}
	if s.id == nil {
		s.id = ordinal
	}
	var faults []error
	if servers == nil {
		faults = append(faults, errors.New("dns: there is no list of servers: want a Source, such as peercatalog.Fixed"))
	}
	if service == "" || strings.ContainsFunc(service, func(c rune) bool { return c <= ' ' || c > '~' }) {
		faults = append(faults, fmt.Errorf("dns: the service is %.260q: want the name of SRV records, such as _cluster._tcp.demo.default.svc.cluster.local", service))
	}
	if opts.Interval < 0 {
		faults = append(faults, fmt.Errorf("dns: the interval is %v: want more than 0, or 0 for the default of %v", opts.Interval, defaultInterval))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return s, nil
}

// ordinal is the default of Options.ID.
func ordinal(target string) (int, bool) {
	name, _, _ := strings.Cut(target, ".")
	at := strings.LastIndexByte(name, '-')
	id, err := strconv.ParseUint(name[at+1:], 10, 16)
	return int(id), at >= 0 && err == nil
}

// String implements peercatalog.Source: the service, and where the servers are listed.
func (s *Source) String() string { return fmt.Sprintf("dns %s (%s)", s.service, s.servers) }

// Load implements peercatalog.Source. That the service has no records is no error; that the name server does not
// answer, or cannot tell, is one.
func (s *Source) Load(ctx context.Context) ([]peercatalog.Peer, error) {
	peers, err := s.servers.Load(ctx)
	if err != nil {
		return nil, err
	}
	records, err := s.lookUp(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.learn(peers, records)
	taken := make(map[string]bool)
	for id := range records {
		taken[s.known[id].address] = true
	}
	for i, p := range peers {
		f, ok := s.known[p.ID]
		_, now := records[p.ID]
		// An address that another server has now is not that of one that the answer leaves out.
		if ok && f.listed == p.Address && (now || !taken[f.address]) {
			peers[i].Address = f.address
		}
	}
	return peers, nil
}

// learn makes what the records say known. The caller holds mu.
func (s *Source) learn(peers []peercatalog.Peer, records map[int][]string) {
	listed := make(map[int]string)
	for _, p := range peers {
		listed[p.ID] = p.Address
	}
	for id := range records {
		if _, ok := listed[id]; !ok {
			delete(records, id) // no server of this cluster
		}
	}
	for id := range s.known {
		if _, ok := listed[id]; !ok {
			delete(s.known, id)
		}
	}
	for id, addresses := range records {
		address := addresses[0]
		if was := s.known[id].address; slices.Contains(addresses, was) {
			address = was
		}
		s.known[id] = found{listed[id], address}
	}
}

// lookUp returns the addresses of the servers that have records, the best first.
func (s *Source) lookUp(ctx context.Context) (map[int][]string, error) {
	_, records, err := s.resolver.LookupSRV(ctx, "", "", s.service)
	if dns := (*net.DNSError)(nil); errors.As(err, &dns) && dns.IsNotFound {
		records, err = nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking up %s: %w", s.service, err)
	}
	slices.SortFunc(records, func(a, b *net.SRV) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(b.Weight, a.Weight), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Port, b.Port))
	})
	addresses := make(map[int][]string)
	for _, r := range records {
		target := strings.ToLower(r.Target)
		if target == "." { // RFC 2782: the service is not there
			continue
		}
		if id, ok := s.id(target); ok {
			addresses[id] = append(addresses[id], net.JoinHostPort(target, strconv.Itoa(int(r.Port))))
		}
	}
	return addresses, nil
}

// Watch implements peercatalog.Source: it watches the list, and calls changed each Interval beside that, for Load to
// look the records up.
func (s *Source) Watch(ctx context.Context, changed func()) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watching sync.WaitGroup
	watching.Go(func() { // It ends with ctx, and is waited for below.
		cancel(s.servers.Watch(ctx, changed))
	})
	defer watching.Wait()
	tick := time.NewTicker(s.interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			changed()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
