package integration

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/abhishekg16/cluster/catalog/etcd"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

// limit is how long a test waits for what must happen.
const limit = time.Minute

// quiet is the Logger of nodes whose faults are wanted.
var quiet = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) { testcluster.Main(m) }

// A server is an etcd of one member, and a way to it that can be cut.
type server struct {
	t      testing.TB
	change func(*embed.Config) // how the test wants it
	dir    string

	mu      sync.Mutex // guards what follows
	running *embed.Etcd
	address string // host and port of its clients
	ways    []*way
}

// newServer starts an etcd with no data. It is gone when the test ends.
func newServer(t testing.TB, change func(*embed.Config)) *server {
	t.Helper()
	s := &server{t: t, change: change, dir: t.TempDir()}
	s.start()
	t.Cleanup(s.stop)
	return s
}

// start starts it with the data that it had.
func (s *server) start() {
	s.t.Helper()
	cfg := embed.NewConfig()
	cfg.Dir = s.dir
	cfg.LogLevel = "fatal"
	cfg.UnsafeNoFsync = true // the test's process lives on
	any := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{any}, []url.URL{any}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{any}, []url.URL{any}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	if s.change != nil {
		s.change(cfg)
	}
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(limit):
		e.Close()
		s.t.Fatalf("etcd is not ready in %v", limit)
	}
	s.mu.Lock()
	s.running, s.address = e, e.Clients[0].Addr().String()
	ways := s.ways
	s.mu.Unlock()
	for _, w := range ways {
		w.mend()
	}
}

// stop ends it, if it runs. It can be started again. Connections break, as when a process is killed: etcd by itself
// would wait for those that watch.
func (s *server) stop() {
	s.mu.Lock()
	e, ways := s.running, s.ways
	s.running, s.address = nil, ""
	s.mu.Unlock()
	for _, w := range ways {
		w.sever()
	}
	if e != nil {
		e.Close()
	}
}

// client returns a client of the etcd as it runs now.
func (s *server) client() *clientv3.Client {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	return dial(s.t, clientv3.Config{Endpoints: []string{s.address}})
}

func dial(t testing.TB, cfg clientv3.Config) *clientv3.Client {
	t.Helper()
	cfg.Logger = zap.NewNop()
	c, err := clientv3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// store is a Store of the client.
func store(t testing.TB, c *clientv3.Client, cluster string, opts etcd.Options) *etcd.Store {
	t.Helper()
	s, err := etcd.New(c, cluster, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// put puts a value into etcd as somebody else does it.
func put(t testing.TB, c *clientv3.Client, key, value string) {
	t.Helper()
	if _, err := c.Put(within(t), key, value); err != nil {
		t.Fatal(err)
	}
}

// within is a context that ends when a test has waited long enough.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// A way is a proxy to an etcd, which can be cut.
type way struct {
	to       *server
	listener net.Listener
	all      sync.WaitGroup

	mu    sync.Mutex // guards what follows
	cut   bool
	conns map[net.Conn]bool
}

// way makes one more way to the server, from an address of its own.
func (s *server) way() *way {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	w := &way{to: s, listener: l, conns: make(map[net.Conn]bool)}
	s.mu.Lock()
	s.ways = append(s.ways, w)
	s.mu.Unlock()
	w.all.Go(w.serve) // It ends when the listener is closed.
	s.t.Cleanup(func() {
		l.Close()
		w.sever()
		w.all.Wait()
	})
	return w
}

// client is one that takes this way.
func (w *way) client(cfg clientv3.Config) *clientv3.Client {
	w.to.t.Helper()
	cfg.Endpoints = []string{w.listener.Addr().String()}
	return dial(w.to.t, cfg)
}

func (w *way) serve() {
	for {
		c, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.all.Go(func() { w.carry(c) }) // It ends when the connection does.
	}
}

// carry carries what comes on c to etcd, and back.
func (w *way) carry(c net.Conn) {
	defer c.Close()
	w.to.mu.Lock()
	address := w.to.address
	w.to.mu.Unlock()
	if address == "" {
		return
	}
	up, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer up.Close()
	w.mu.Lock()
	if w.cut {
		w.mu.Unlock()
		return
	}
	w.conns[c], w.conns[up] = true, true
	w.mu.Unlock()
	var back sync.WaitGroup
	back.Go(func() { // It ends when one of the connections does.
		io.Copy(c, up)
		c.Close()
		up.Close()
	})
	io.Copy(up, c)
	c.Close()
	up.Close()
	back.Wait()
	w.mu.Lock()
	delete(w.conns, c)
	delete(w.conns, up)
	w.mu.Unlock()
}

// sever cuts the way, until mend.
func (w *way) sever() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	for c := range w.conns {
		c.Close()
	}
}

func (w *way) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = false
}

// eventually waits until cond returns an empty text, which otherwise says what is missing.
func eventually(t testing.TB, cond func() string) {
	t.Helper()
	missing := ""
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if missing = cond(); missing == "" {
			return
		}
	}
	t.Fatalf("not within %v: %s", limit, missing)
}

// missing is what eventually is told where ok does not hold.
func missing(ok bool, format string, args ...any) string {
	if ok {
		return ""
	}
	return fmt.Sprintf(format, args...)
}
