package integration

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/abhishekg16/cluster/catalog/etcd"
	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

var long = flag.Bool("long", false, "let etcd be away for a minute, and more servers join at once")

// at is a server at an address of its own.
func at(i int) peercatalog.Peer {
	return peercatalog.Peer{Address: fmt.Sprintf("127.0.0.1:%d", 10_000+i)}
}

func TestAStoreIsASource(t *testing.T) {
	s := newServer(t, nil)
	places := 0
	clustertest.TestSource(t, clustertest.SourceImplementation{New: func(t testing.TB, peers ...peercatalog.Peer) clustertest.SourcePlace {
		places++
		name := fmt.Sprint("place", places)
		root := "/cluster/" + name + "/peers/"
		direct := s.client()
		set := func(peers ...peercatalog.Peer) {
			ops := []clientv3.Op{}
			now, err := direct.Get(within(t), root, clientv3.WithPrefix(), clientv3.WithKeysOnly())
			if err != nil {
				t.Fatal(err)
			}
			want := make(map[string]string)
			for _, p := range peers {
				want[fmt.Sprint(root, p.ID)] = entry(t, p)
			}
			for _, kv := range now.Kvs {
				if want[string(kv.Key)] == "" {
					ops = append(ops, clientv3.OpDelete(string(kv.Key)))
				}
			}
			for key, value := range want {
				ops = append(ops, clientv3.OpPut(key, value))
			}
			if _, err := direct.Txn(within(t)).Then(ops...).Commit(); err != nil {
				t.Fatal(err)
			}
		}
		set(peers...)
		way := s.way()
		source := store(t, way.client(clientv3.Config{}), name, etcd.Options{Reconcile: -1})
		return clustertest.SourcePlace{Source: source, Set: set, Break: way.sever, Mend: way.mend}
	}})
}

// entry is the JSON of an entry, as somebody else writes it.
func entry(t testing.TB, p peercatalog.Peer) string {
	t.Helper()
	fields := map[string]any{"id": p.ID, "address": p.Address}
	for name, value := range map[string]string{"bind": p.Bind, "public_key": p.PublicKey, "previous_public_key": p.PreviousPublicKey} {
		if value != "" {
			fields[name] = value
		}
	}
	if p.Observer {
		fields["observer"] = true
	}
	for name, value := range p.Extra {
		fields[name] = value
	}
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestServersThatJoinAtOnceNeverGetTheSameID(t *testing.T) {
	const joining = 8
	rounds := 12
	if *long {
		rounds = 200
	}
	s := newServer(t, nil)
	clients := make([]*clientv3.Client, joining)
	for i := range clients {
		clients[i] = s.client()
	}
	for round := range rounds {
		name := fmt.Sprint("round", round)
		var mu sync.Mutex
		var all sync.WaitGroup
		owner := make(map[int]string)
		for i, c := range clients {
			of := store(t, c, name, etcd.Options{})
			all.Go(func() {
				p := at(i)
				id, err := of.Join(within(t), p)
				if err != nil {
					t.Errorf("round %d: server %d: %v", round, i, err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if other, taken := owner[id]; taken {
					t.Errorf("round %d: %s and %s both have the id %d", round, other, p.Address, id)
				}
				owner[id] = p.Address
			})
		}
		all.Wait()
		if ids := slices.Sorted(maps.Keys(owner)); !slices.Equal(ids, []int{0, 1, 2, 3, 4, 5, 6, 7}) {
			t.Errorf("round %d: the ids are %v", round, ids)
		}
		for _, p := range load(t, store(t, clients[0], name, etcd.Options{})) {
			if owner[p.ID] != p.Address {
				t.Errorf("round %d: %d is at %s, and %s was told that it has the id", round, p.ID, p.Address, owner[p.ID])
			}
		}
	}
}

func load(t testing.TB, s *etcd.Store) []peercatalog.Peer {
	t.Helper()
	peers, err := s.Load(within(t))
	if err != nil {
		t.Fatal(err)
	}
	return peers
}

func join(t testing.TB, s *etcd.Store, p peercatalog.Peer) int {
	t.Helper()
	id, err := s.Join(within(t), p)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestAnIDThatWasGivenUpIsGivenToNobodyWhoDoesNotAskForIt(t *testing.T) {
	c := newServer(t, nil).client()
	s := store(t, c, "demo", etcd.Options{})
	for want := range 3 {
		if id := join(t, s, at(want)); id != want {
			t.Fatalf("server %d got the id %d", want, id)
		}
	}
	if err := s.Leave(within(t), 1); err != nil {
		t.Fatal(err)
	}
	if err := s.Leave(within(t), 1); !errors.Is(err, etcd.ErrUnknown) {
		t.Errorf("leaving again: %v, want ErrUnknown", err)
	}
	if id := join(t, s, at(1)); id != 3 {
		t.Errorf("after 1 has left the next got %d, want 3", id)
	}
	// Somebody else removes one, and adds one.
	if _, err := c.Delete(within(t), "/cluster/demo/peers/2"); err != nil {
		t.Fatal(err)
	}
	put(t, c, "/cluster/demo/peers/4", `{"id": 4, "address": "127.0.0.1:4444"}`)
	if id := join(t, s, at(2)); id != 5 {
		t.Errorf("with 2 removed and 4 added by hand the next got %d, want 5", id)
	}
	if err := s.Leave(within(t), 4); err != nil {
		t.Fatal(err)
	}
	if id := join(t, s, at(4)); id != 6 {
		t.Errorf("after one that was added by hand has left the next got %d, want 6", id)
	}
	asked := at(7)
	asked.ID = 1
	if err := s.JoinAs(within(t), asked); err != nil {
		t.Errorf("who asks for the id: %v", err)
	}
	asked.Address = at(8).Address
	if err := s.JoinAs(within(t), asked); !errors.Is(err, peercatalog.ErrExists) {
		t.Errorf("who asks for one that is taken: %v, want ErrExists", err)
	}
	var ids []int
	for _, p := range load(t, s) {
		ids = append(ids, p.ID)
	}
	if want := []int{0, 1, 3, 5, 6}; !slices.Equal(ids, want) {
		t.Errorf("the ids are %v, want %v", ids, want)
	}
}

func TestUpdateChangesOneEntry(t *testing.T) {
	s := store(t, newServer(t, nil).client(), "demo", etcd.Options{})
	p := at(0)
	p.Extra = map[string]json.RawMessage{"role": json.RawMessage(`"leader"`)}
	join(t, s, p)
	join(t, s, at(1))
	// All at once: each sees what the others have done.
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			err := s.Update(within(t), 0, func(p *peercatalog.Peer) error {
				p.Extra[fmt.Sprint("field", i)] = json.RawMessage("1")
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i := range 8 {
		p.Extra[fmt.Sprint("field", i)] = json.RawMessage("1")
	}
	second := at(1)
	second.ID = 1
	if diff := cmp.Diff([]peercatalog.Peer{p, second}, load(t, s)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	own := errors.New("its own")
	if err := s.Update(within(t), 0, func(*peercatalog.Peer) error { return own }); !errors.Is(err, own) {
		t.Errorf("got %v, want the function's error", err)
	}
	if err := s.Update(within(t), 7, func(*peercatalog.Peer) error { return nil }); !errors.Is(err, etcd.ErrUnknown) {
		t.Errorf("got %v, want ErrUnknown", err)
	}
}

func TestWhatDoesNotGoTogetherIsRefused(t *testing.T) {
	s := store(t, newServer(t, nil).client(), "demo", etcd.Options{})
	join(t, s, at(0))
	join(t, s, at(1))
	before := load(t, s)
	key := testcluster.Keyed(t, testcluster.Config(t, "mem", 1)).Peers[0].PublicKey
	for _, c := range []struct {
		name string
		err  func() error
		want string
	}{
		{"an address twice", func() error { _, err := s.Join(within(t), at(0)); return err }, `address "127.0.0.1:10000" is also that of peer 0`},
		{"no address", func() error { _, err := s.Join(within(t), peercatalog.Peer{}); return err }, "address is missing"},
		{"an id out of range", func() error { return s.JoinAs(within(t), peercatalog.Peer{ID: -1, Address: "127.0.0.1:1"}) }, "id -1 is out of range"},
		{"a key where the others have none", func() error {
			_, err := s.Join(within(t), peercatalog.Peer{Address: "127.0.0.1:1", PublicKey: key})
			return err
		}, "public_key"},
		{"to go to the address of another", func() error {
			return s.Update(within(t), 1, func(p *peercatalog.Peer) error { p.Address = at(0).Address; return nil })
		}, "is also that of peer 0"},
		{"another id", func() error {
			return s.Update(within(t), 1, func(p *peercatalog.Peer) error { p.ID = 9; return nil })
		}, "want Leave and JoinAs"},
		{"a field that is a slip", func() error {
			p := at(5)
			p.Extra = map[string]json.RawMessage{"adress": json.RawMessage(`"x"`)}
			_, err := s.Join(within(t), p)
			return err
		}, `did you mean "address"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.err(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
			if diff := cmp.Diff(before, load(t, s)); diff != "" {
				t.Errorf("something has changed, -want +got:\n%s", diff)
			}
		})
	}
}

// loses makes the answer to each second transaction get lost, and meanwhile happen.
func loses(meanwhile func()) grpc.DialOption {
	var mu sync.Mutex
	lost := false
	return grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, c *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		err := invoke(ctx, method, req, reply, c, opts...)
		mu.Lock()
		defer mu.Unlock()
		if strings.HasSuffix(method, "/Txn") {
			if lost = !lost; lost && err == nil {
				meanwhile()
				return status.Error(codes.Unavailable, "the answer was lost")
			}
		}
		return err
	})
}

func TestAJoinWhoseAnswerIsLostTakesOneID(t *testing.T) {
	way := newServer(t, nil).way()
	s := store(t, way.client(clientv3.Config{DialOptions: []grpc.DialOption{loses(func() {})}}), "demo", etcd.Options{})
	for want := range 3 {
		if id := join(t, s, at(want)); id != want {
			t.Errorf("server %d got the id %d", want, id)
		}
	}
	if err := s.Leave(within(t), 1); err != nil {
		t.Error(err)
	}
	if got := len(load(t, s)); got != 2 {
		t.Errorf("there are %d servers, want 2", got)
	}
}

func TestALeaveWhoseAnswerIsLostTakesNobodyElseOut(t *testing.T) {
	server := newServer(t, nil)
	other := store(t, server.client(), "demo", etcd.Options{})
	way := server.way()
	leaving := store(t, way.client(clientv3.Config{DialOptions: []grpc.DialOption{loses(func() {
		p := at(9)
		p.ID = 1
		if err := other.JoinAs(within(t), p); err != nil {
			t.Error(err)
		}
	})}}), "demo", etcd.Options{})
	for name, list := range map[string]func(){
		"who has joined":     func() { join(t, other, at(0)); join(t, other, at(1)) },
		"who is put by hand": func() { put(t, server.client(), "/cluster/demo/peers/1", `{"id": 1, "address": "127.0.0.1:1"}`) },
	} {
		if _, err := server.client().Delete(within(t), "/cluster/demo/", clientv3.WithPrefix()); err != nil {
			t.Fatal(err)
		}
		list()
		if err := leaving.Leave(within(t), 1); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		found := false
		for _, p := range load(t, other) {
			found = found || p.ID == 1 && p.Address == at(9).Address
		}
		if !found {
			t.Errorf("%s: the server that took the id meanwhile is gone: %v", name, load(t, other))
		}
		// The next transaction gets its answer: one is lost of two.
		if err := leaving.Leave(within(t), 1); err != nil {
			t.Error(err)
		}
	}
}

func TestAChangeWithoutEtcdIsAnErrorThatNamesItsPlace(t *testing.T) {
	server := newServer(t, nil)
	way := server.way()
	s := store(t, way.client(clientv3.Config{}), "demo", etcd.Options{Timeout: 300 * time.Millisecond})
	join(t, s, at(0))
	way.sever()
	for name, change := range map[string]func() error{
		"Join":   func() error { _, err := s.Join(within(t), at(1)); return err },
		"JoinAs": func() error { return s.JoinAs(within(t), peercatalog.Peer{ID: 5, Address: "127.0.0.1:1"}) },
		"Leave":  func() error { return s.Leave(within(t), 0) },
		"Update": func() error { return s.Update(within(t), 0, func(*peercatalog.Peer) error { return nil }) },
	} {
		if err := change(); err == nil || !strings.Contains(err.Error(), "/cluster/demo/") {
			t.Errorf("%s without etcd: %v", name, err)
		}
	}
}
