package dns_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/catalog/dns"
	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

func TestMain(m *testing.M) {
	// A node's look-up that nobody waits for any more goes on when its test has ended: the resolver of the process
	// stays the same, and whom it asks changes.
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if s := asked.Load(); s != nil {
			return s.dial(ctx)
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	testcluster.Main(m)
}

// asked is the name server of the process; nil: that of the machine is.
var asked atomic.Pointer[nameServer]

const service = "_cluster._tcp.demo.test."

// target is the name of the server with the id.
func target(id int) string { return fmt.Sprintf("demo-%d.demo.test.", id) }

// at is the SRV record of the server with the id.
func at(id, port int) net.SRV { return net.SRV{Target: target(id), Port: uint16(port)} }

// listed are servers at addresses that nobody has.
func listed(n int) (peers []peercatalog.Peer) {
	for id := range n {
		peers = append(peers, peercatalog.Peer{ID: id, Address: fmt.Sprintf("listed-%d.test:1", id), Bind: fmt.Sprintf("*:%d", 7000+id)})
	}
	return peers
}

func newSource(t testing.TB, s *nameServer, servers peercatalog.Source, opts dns.Options) *dns.Source {
	t.Helper()
	opts.Resolver = s.resolver()
	source, err := dns.New(servers, service, opts)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func TestDNSIsASource(t *testing.T) {
	clustertest.TestSource(t, clustertest.SourceImplementation{
		New: func(t testing.TB, peers ...peercatalog.Peer) clustertest.SourcePlace {
			s := newNameServer(t)
			set := func(peers ...peercatalog.Peer) {
				var records []net.SRV
				for _, p := range peers {
					port := 0
					if _, err := fmt.Sscanf(p.Address, target(p.ID)+":%d", &port); err != nil {
						t.Fatal(err)
					}
					records = append(records, at(p.ID, port))
				}
				s.change(func() { s.srv[service] = records })
			}
			set(peers...)
			var fixed []peercatalog.Peer
			for _, p := range peers {
				p.Address = listed(p.ID + 1)[p.ID].Address
				fixed = append(fixed, p)
			}
			return clustertest.SourcePlace{
				Source: newSource(t, s, peercatalog.Fixed(fixed...), dns.Options{Interval: 20 * time.Millisecond}),
				Set:    set,
				Break:  func() { s.change(func() { s.failed = true }) },
				Mend:   func() { s.change(func() { s.failed = false }) },
			}
		},
		Peer: func(id, version int) peercatalog.Peer {
			p := peercatalog.Peer{ID: id, Address: fmt.Sprintf("%s:%d", target(id), 8000+version)}
			if id == 1 {
				p.Bind, p.Observer = "*:8000", true
				p.Extra = map[string]json.RawMessage{"role": json.RawMessage(`"x"`)}
			}
			return p
		},
		FixedIDs: true,
	})
}

// addresses are those of what Load returns, by id.
func addresses(t testing.TB, s peercatalog.Source) (list []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testcluster.Limit)
	defer cancel()
	peers, err := s.Load(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for id, p := range peers {
		if p.ID != id {
			t.Errorf("the servers are %v", peers)
		}
		list = append(list, p.Address)
	}
	return list
}

func TestAnAnswerNeverRemovesAServer(t *testing.T) {
	s := newNameServer(t)
	source := newSource(t, s, peercatalog.Fixed(listed(3)...), dns.Options{})
	for _, step := range []struct {
		name    string
		records []net.SRV // nil: the name is not known
		want    []string
	}{
		{"the service is not there yet", nil, []string{"listed-0.test:1", "listed-1.test:1", "listed-2.test:1"}},
		{"it has no records", []net.SRV{}, []string{"listed-0.test:1", "listed-1.test:1", "listed-2.test:1"}},
		{"two servers are ready", []net.SRV{at(2, 82), at(0, 80)}, []string{"demo-0.demo.test.:80", "listed-1.test:1", "demo-2.demo.test.:82"}},
		{"one of them is not any more, and another one is", []net.SRV{at(0, 80), at(1, 81)}, []string{"demo-0.demo.test.:80", "demo-1.demo.test.:81", "demo-2.demo.test.:82"}},
		{"one has moved", []net.SRV{at(1, 91)}, []string{"demo-0.demo.test.:80", "demo-1.demo.test.:91", "demo-2.demo.test.:82"}},
		{"none is ready", []net.SRV{}, []string{"demo-0.demo.test.:80", "demo-1.demo.test.:91", "demo-2.demo.test.:82"}},
		{"the service is gone", nil, []string{"demo-0.demo.test.:80", "demo-1.demo.test.:91", "demo-2.demo.test.:82"}},
		{"there are others, too", []net.SRV{at(0, 70), at(3, 73), {Target: "other.test.", Port: 1}, {Target: "demo-x.test.", Port: 1}, {Target: ".", Port: 1}},
			[]string{"demo-0.demo.test.:70", "demo-1.demo.test.:91", "demo-2.demo.test.:82"}},
	} {
		s.change(func() {
			if s.srv[service] = step.records; step.records == nil {
				delete(s.srv, service)
			}
		})
		if diff := cmp.Diff(step.want, addresses(t, source)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", step.name, diff)
		}
	}
}

func TestOfSeveralRecordsOfAServerOneCounts(t *testing.T) {
	s := newNameServer(t)
	source := newSource(t, s, peercatalog.Fixed(listed(1)...), dns.Options{})
	record := func(priority, weight uint16, port int) net.SRV {
		r := at(0, port)
		r.Priority, r.Weight = priority, weight
		return r
	}
	for _, step := range []struct {
		name    string
		records []net.SRV
		want    string
	}{
		{"the best by priority, then by weight", []net.SRV{record(2, 9, 1), record(1, 1, 2), record(1, 5, 3)}, "demo-0.demo.test.:3"},
		{"the one that it had, as long as it is there", []net.SRV{record(0, 9, 4), record(1, 5, 3)}, "demo-0.demo.test.:3"},
		{"another, once it is gone", []net.SRV{record(0, 9, 4), record(1, 5, 5)}, "demo-0.demo.test.:4"},
	} {
		for range 5 { // the resolver shuffles them
			s.change(func() { s.srv[service] = step.records })
			if got := addresses(t, source); got[0] != step.want {
				t.Errorf("%s: got %v, want %s", step.name, got, step.want)
			}
		}
	}
}

func TestAnAddressThatAnotherServerHasNowIsNotKept(t *testing.T) {
	s := newNameServer(t)
	owner := map[string]int{"a.test.": 0, "b.test.": 1}
	source := newSource(t, s, peercatalog.Fixed(listed(2)...), dns.Options{ID: func(target string) (int, bool) { id, ok := owner[target]; return id, ok }})
	s.change(func() { s.srv[service] = []net.SRV{{Target: "A.test.", Port: 1}, {Target: "b.test.", Port: 1}} })
	if diff := cmp.Diff([]string{"a.test.:1", "b.test.:1"}, addresses(t, source)); diff != "" {
		t.Errorf("at first, -want +got:\n%s", diff)
	}
	owner["b.test."] = 0
	s.change(func() { s.srv[service] = []net.SRV{{Target: "b.test.", Port: 1}} })
	if diff := cmp.Diff([]string{"b.test.:1", "listed-1.test:1"}, addresses(t, source)); diff != "" {
		t.Errorf("once server 0 has the place of server 1, -want +got:\n%s", diff)
	}
}

func TestWhatTheListSaysOtherwiseCounts(t *testing.T) {
	s := newNameServer(t)
	list := &settable{peers: listed(2)}
	source := newSource(t, s, list, dns.Options{})
	s.change(func() { s.srv[service] = []net.SRV{at(0, 80), at(1, 81)} })
	addresses(t, source)
	s.change(func() { s.srv[service] = []net.SRV{at(0, 80)} })
	list.peers = append(listed(1), peercatalog.Peer{ID: 1, Address: "elsewhere.test:2"}, peercatalog.Peer{ID: 2, Address: "new.test:3"})
	if diff := cmp.Diff([]string{"demo-0.demo.test.:80", "elsewhere.test:2", "new.test:3"}, addresses(t, source)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	list.err = errors.New("no list")
	if _, err := source.Load(t.Context()); !errors.Is(err, list.err) {
		t.Errorf("without a list: %v", err)
	}
	if err := source.Watch(t.Context(), func() {}); !errors.Is(err, list.err) {
		t.Errorf("Watch without a list: %v", err)
	}
}

// A settable source says what a test makes it say.
type settable struct {
	peers []peercatalog.Peer
	err   error
}

func (s *settable) String() string { return "the list" }

func (s *settable) Load(context.Context) ([]peercatalog.Peer, error) {
	return append([]peercatalog.Peer(nil), s.peers...), s.err
}

func (s *settable) Watch(context.Context, func()) error { return s.err }

func TestANameServerThatDoesNotAnswerIsAnErrorWithinTheContext(t *testing.T) {
	s := newNameServer(t)
	s.change(func() { s.silent = true })
	source := newSource(t, s, peercatalog.Fixed(listed(1)...), dns.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if peers, err := source.Load(ctx); err == nil || !strings.Contains(err.Error(), service) {
		t.Errorf("got %v, %v", peers, err)
	}
}

func TestUnusableArgumentsAreRefusedAllAtOnce(t *testing.T) {
	list := peercatalog.Fixed(listed(1)...)
	for _, c := range []struct {
		name    string
		list    peercatalog.Source
		service string
		opts    dns.Options
		want    []string
	}{
		{"no list", nil, service, dns.Options{}, []string{"no list of servers"}},
		{"no service", list, "", dns.Options{}, []string{`the service is ""`}},
		{"a space", list, "a b", dns.Options{}, []string{`the service is "a b"`}},
		{"an interval that is none", list, service, dns.Options{Interval: -1}, []string{"the interval is -1ns"}},
		{"several", nil, "", dns.Options{Interval: -1}, []string{"no list", "the service", "the interval"}},
	} {
		_, err := dns.New(c.list, c.service, c.opts)
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q in it", c.name, err, want)
			}
		}
	}
}

// resolve makes the name server that of the process until the test ends.
func (s *nameServer) resolve(t *testing.T) {
	t.Helper()
	asked.Store(s)
	t.Cleanup(func() { asked.Store(nil) })
}

// exchange sends until the other has received something that was sent after the call.
func exchange(t *testing.T, from, to *cluster.Node, what string) {
	t.Helper()
	deadline := time.After(testcluster.Limit)
	for {
		testcluster.Put(t, from, &cluster.Envelope{Pid: to.Pid(), Msg: what})
		select {
		case e := <-to.Inbox():
			if e.Msg == what {
				return
			}
		case <-time.After(50 * time.Millisecond):
		case <-deadline:
			t.Fatalf("server %d has not received %q from %d in %v:\n%v", to.Pid(), what, from.Pid(), testcluster.Limit, from.Stats())
		}
	}
}

func TestAServerThatMovesIsFoundByItsRecord(t *testing.T) {
	s := newNameServer(t)
	s.resolve(t)
	for id := range 2 {
		s.change(func() { s.hosts[target(id)] = netip.MustParseAddr("127.0.0.1") })
	}
	ports := make([]int, 3)
	for i, address := range testcluster.Addresses(t, "tcp", 3) {
		if _, err := fmt.Sscanf(address, "127.0.0.1:%d", &ports[i]); err != nil {
			t.Fatal(err)
		}
	}
	list := listed(2)
	start := func(id, port int) *cluster.Node {
		s.change(func() { s.srv[service] = []net.SRV{at(0, ports[0]), at(1, port)} })
		own := append([]peercatalog.Peer(nil), list...)
		own[id].Bind = fmt.Sprintf("127.0.0.1:%d", port)
		source := newSource(t, s, peercatalog.Fixed(own...), dns.Options{Interval: 50 * time.Millisecond})
		return testcluster.Join(t, id, cluster.Config{Source: source})
	}
	second := start(1, ports[1])
	first := start(0, ports[0])
	s.change(func() { s.srv[service] = []net.SRV{at(0, ports[0]), at(1, ports[1])} })
	exchange(t, first, second, "at first")
	exchange(t, second, first, "at first")
	// While it is not ready, it is still a server of the cluster, and reached.
	s.change(func() { s.srv[service] = []net.SRV{at(0, ports[0])} })
	if err := first.Reload(); err != nil {
		t.Error(err)
	}
	exchange(t, first, second, "not ready")
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	s.change(func() { delete(s.srv, service) })
	if err := first.Reload(); err != nil || len(first.Peers()) != 1 {
		t.Errorf("without records: %v, and the others are %v", err, first.Peers())
	}
	second = start(1, ports[2])
	exchange(t, first, second, "moved")
	exchange(t, second, first, "moved")
}

// A name in an address is looked up anew for each connection, so that a pod is found which has another address after
// it was started anew.
func TestAServerThatHasANameIsFoundWhereverTheNameLeads(t *testing.T) {
	s := newNameServer(t)
	s.resolve(t)
	port := 0
	if _, err := fmt.Sscanf(testcluster.Addresses(t, "tcp", 1)[0], "127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	peers, err := peercatalog.Replicas(2, fmt.Sprintf("demo-{id}.demo.test.:%d", port), "")
	if err != nil {
		t.Fatal(err)
	}
	start := func(id int, host string) *cluster.Node {
		s.change(func() { s.hosts[target(id)] = netip.MustParseAddr(host) })
		own := append([]peercatalog.Peer(nil), peers...)
		own[id].Bind = fmt.Sprintf("%s:%d", host, port)
		return testcluster.Join(t, id, cluster.Config{Peers: own})
	}
	first, second := start(0, "127.0.0.11"), start(1, "127.0.0.12")
	exchange(t, first, second, "at first")
	exchange(t, second, first, "at first")
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	s.change(func() { delete(s.hosts, target(1)) }) // it is not ready
	testcluster.Put(t, first, &cluster.Envelope{Pid: 1, Msg: "lost"})
	second = start(1, "127.0.0.13")
	exchange(t, first, second, "moved")
	exchange(t, second, first, "moved")
}
