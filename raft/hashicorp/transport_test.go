package hashicorp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/raft/hashicorp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline is how long a test waits for what should come at once.
const deadline = time.Minute

// pair starts two servers over TCP, each with a transport, which has pipelines unless cfg says otherwise.
func pair(t testing.TB, cfg hashicorp.Config, change ...func(*cluster.Config)) (a, b *hashicorp.Transport, nodes []*cluster.Node) {
	t.Helper()
	if cfg.MaxInFlight == 0 {
		cfg.MaxInFlight = 2
	}
	nodes = clustertest.StartLocal(t, 2, append([]func(*cluster.Config){patient}, change...)...)
	return open(t, nodes[0], cfg), open(t, nodes[1], cfg), nodes
}

// patient lets a server wait for another that a busy machine holds up.
func patient(cfg *cluster.Config) { cfg.SendTimeout = deadline }

func open(t testing.TB, node *cluster.Node, cfg hashicorp.Config) *hashicorp.Transport {
	t.Helper()
	if cfg.Timeout == 0 {
		cfg.Timeout = deadline
	}
	transport, err := hashicorp.New(node, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { transport.Close() })
	return transport
}

// next is the next request for Raft.
func next(t *testing.T, transport *hashicorp.Transport) raft.RPC {
	t.Helper()
	select {
	case rpc := <-transport.Consumer():
		return rpc
	case <-time.After(deadline):
		t.Fatal("no request has come")
		panic("unreachable")
	}
}

func heartbeat() *raft.AppendEntriesRequest {
	return &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{Addr: []byte("0")}, Term: 7}
}

func entry(index uint64) *raft.AppendEntriesRequest {
	return &raft.AppendEntriesRequest{Term: 7, PrevLogEntry: index - 1, Entries: []*raft.Log{{Index: index, Data: []byte("data")}}}
}

// result is what a call that is waited for elsewhere returns.
func result(call func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- call() }() // ends with the call, which has a timeout
	return done
}

// outcome waits for a result.
func outcome(t *testing.T, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(deadline):
		t.Fatal("the call has not returned")
		panic("unreachable")
	}
}

func TestAnAddressIsAnIDOfAServer(t *testing.T) {
	for _, pid := range []int{0, 1, 65535} {
		if got, err := hashicorp.Pid(hashicorp.Address(pid)); got != pid || err != nil {
			t.Errorf("%d became %d, %v", pid, got, err)
		}
	}
	for _, addr := range []raft.ServerAddress{"", "x", "-1", "+1", "01", "65536", "127.0.0.1:80", " 1"} {
		if got, err := hashicorp.Pid(addr); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", string(addr))) {
			t.Errorf("%q: got %d, %v; want an error that says it", addr, got, err)
		}
	}
	a, _, _ := pair(t, hashicorp.Config{})
	if err := a.RequestVote("b", "10.0.0.1:80", &raft.RequestVoteRequest{}, new(raft.RequestVoteResponse)); err == nil || !strings.Contains(err.Error(), "10.0.0.1:80") {
		t.Errorf("a request to such an address: %v", err)
	}
	if _, err := a.AppendEntriesPipeline("b", "10.0.0.1:80"); err == nil {
		t.Error("a pipeline to such an address is no error")
	}
	if err := a.RequestVote("b", "9", &raft.RequestVoteRequest{}, new(raft.RequestVoteResponse)); !errors.Is(err, cluster.ErrUnknownPeer) {
		t.Errorf("a request to a server that is not in the cluster: %v", err)
	}
}

func TestAHeartbeatDoesNotWaitForRaft(t *testing.T) {
	a, b, _ := pair(t, hashicorp.Config{HeartbeatTimeout: deadline})
	b.SetHeartbeatHandler(func(rpc raft.RPC) {
		rpc.Respond(&raft.AppendEntriesResponse{Term: rpc.Command.(*raft.AppendEntriesRequest).Term, Success: true}, nil)
	})
	// Raft takes nothing, and more requests wait than Consumer holds.
	var waiting []<-chan error
	for i := range uint64(30) {
		waiting = append(waiting, result(func() error { return a.AppendEntries("b", "1", entry(i+1), new(raft.AppendEntriesResponse)) }))
	}
	var got raft.AppendEntriesResponse
	if err := outcome(t, result(func() error { return a.AppendEntries("b", "1", heartbeat(), &got) })); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(raft.AppendEntriesResponse{Term: 7, Success: true}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	b.SetHeartbeatHandler(nil)
	for range waiting {
		rpc := next(t, b)
		rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
	}
	for _, done := range waiting {
		if err := outcome(t, done); err != nil {
			t.Error(err)
		}
	}
	// Without a handler it goes where all goes.
	done := result(func() error { return a.AppendEntries("b", "1", heartbeat(), &got) })
	rpc := next(t, b)
	rpc.Respond(&raft.AppendEntriesResponse{}, nil)
	if err := outcome(t, done); err != nil {
		t.Error(err)
	}
}

func TestPipelinedRequestsComeInOrderAndSoDoTheirResponses(t *testing.T) {
	const count = 1000
	a, b, _ := pair(t, hashicorp.Config{MaxInFlight: 20})
	pipeline, err := a.AppendEntriesPipeline("b", "1")
	if err != nil {
		t.Fatal(err)
	}
	defer pipeline.Close()
	sent := result(func() error {
		for i := range uint64(count) {
			if _, err := pipeline.AppendEntries(entry(i+1), new(raft.AppendEntriesResponse)); err != nil {
				return err
			}
		}
		return nil
	})
	answered := result(func() error {
		for i := range uint64(count) {
			select {
			case rpc := <-b.Consumer():
				if got := rpc.Command.(*raft.AppendEntriesRequest).PrevLogEntry; got != i {
					return fmt.Errorf("request %d came in the place of %d", got, i)
				}
				rpc.Respond(&raft.AppendEntriesResponse{LastLog: i + 1, Success: true}, nil)
			case <-time.After(deadline):
				return fmt.Errorf("request %d has not come", i)
			}
		}
		return nil
	})
	for i := range uint64(count) {
		select {
		case f := <-pipeline.Consumer():
			if err := f.Error(); err != nil || f.Response().LastLog != i+1 || f.Request().PrevLogEntry != i {
				t.Fatalf("response %d: %+v to %+v, %v", i, f.Response(), f.Request(), err)
			}
		case <-time.After(deadline):
			t.Fatalf("response %d has not come", i)
		}
	}
	for _, done := range []<-chan error{sent, answered} {
		if err := outcome(t, done); err != nil {
			t.Error(err)
		}
	}
}

func TestAPipelineHasOnlySoManyRequestsUnderWay(t *testing.T) {
	a, b, _ := pair(t, hashicorp.Config{MaxInFlight: 3})
	pipeline, err := a.AppendEntriesPipeline("b", "1")
	if err != nil {
		t.Fatal(err)
	}
	defer pipeline.Close()
	var futures []raft.AppendFuture
	for i := range uint64(3) {
		f, err := pipeline.AppendEntries(entry(i+1), new(raft.AppendEntriesResponse))
		if err != nil {
			t.Fatal(err)
		}
		futures = append(futures, f)
	}
	fourth := result(func() error {
		_, err := pipeline.AppendEntries(entry(4), new(raft.AppendEntriesResponse))
		return err
	})
	var first []raft.RPC
	for range 3 {
		first = append(first, next(t, b))
	}
	select {
	case err := <-fourth:
		t.Errorf("the fourth was sent though three are under way: %v", err)
	case rpc := <-b.Consumer():
		t.Errorf("a fourth has come: %+v", rpc.Command)
	case <-time.After(50 * time.Millisecond):
	}
	first[0].Respond(&raft.AppendEntriesResponse{Success: true}, nil)
	if err := outcome(t, fourth); err != nil {
		t.Error(err)
	}
	pipeline.Close()
	if err := futures[1].Error(); err != raft.ErrPipelineShutdown {
		t.Errorf("of one that was under way when the pipeline was closed: %v", err)
	}
	if _, err := pipeline.AppendEntries(entry(5), new(raft.AppendEntriesResponse)); err != raft.ErrPipelineShutdown {
		t.Errorf("after Close: %v", err)
	}
	single := open(t, clustertest.StartLocal(t, 1)[0], hashicorp.Config{MaxInFlight: 1})
	if _, err := single.AppendEntriesPipeline("b", "1"); err != raft.ErrPipelineReplicationNotSupported {
		t.Errorf("with MaxInFlight 1: %v", err)
	}
}

func TestErrorsOfTheOtherSideArrive(t *testing.T) {
	a, b, _ := pair(t, hashicorp.Config{})
	for _, tt := range []struct {
		name string
		resp any
		err  error
		want string
	}{
		{"with a response", &raft.RequestVoteResponse{Term: 9}, errors.New("no disk"), "no disk"},
		{"without one", nil, errors.New("no disk"), "no disk"},
		{"a long one", nil, errors.New(strings.Repeat("x", 1<<20)), "xxxx"},
		{"nothing at all", nil, nil, "empty response"},
		{"a response of another type", "hello", nil, "string"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got raft.RequestVoteResponse
			done := result(func() error { return a.RequestVote("b", "1", &raft.RequestVoteRequest{}, &got) })
			rpc := next(t, b)
			rpc.Respond(tt.resp, tt.err)
			err := outcome(t, done)
			if err == nil || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 5000 {
				t.Errorf("got %.100v", err)
			}
			if r, ok := tt.resp.(*raft.RequestVoteResponse); ok && got.Term != r.Term {
				t.Errorf("the response is %+v", got)
			}
		})
	}
}

// vote asks server 1 for its vote.
func vote(a *hashicorp.Transport) <-chan error {
	return result(func() error {
		return a.RequestVote("b", "1", &raft.RequestVoteRequest{}, new(raft.RequestVoteResponse))
	})
}

func TestACallEndsWithAnErrorThatSaysWhy(t *testing.T) {
	t.Run("Raft does not answer", func(t *testing.T) {
		a, _, _ := pair(t, hashicorp.Config{Timeout: 100 * time.Millisecond})
		err := outcome(t, vote(a))
		if err == nil || !strings.Contains(err.Error(), "server 1 has not answered the RequestVote for 100ms; it may have seen it") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the server goes down", func(t *testing.T) {
		short := func(cfg *cluster.Config) { cfg.SendTimeout = 2 * time.Second }
		a, b, nodes := pair(t, hashicorp.Config{}, short)
		done := vote(a)
		next(t, b)
		nodes[1].Close()
		fails(t, done, "server 1 is down; it may have seen the RequestVote")
		// A server that is down takes nothing for SendTimeout before what is for it is refused.
		for began := time.Now(); ; {
			switch err := outcome(t, vote(a)); {
			case errors.Is(err, cluster.ErrUnreachable):
				return
			case err == nil || !strings.Contains(err.Error(), "server 1 is down") || time.Since(began) > deadline:
				t.Fatalf("the next: %v", err)
			}
		}
	})
	t.Run("the transport is closed", func(t *testing.T) {
		a, b, _ := pair(t, hashicorp.Config{})
		done := vote(a)
		next(t, b)
		a.Close()
		if err := outcome(t, done); err != raft.ErrTransportShutdown {
			t.Errorf("got %v", err)
		}
		if err := outcome(t, vote(a)); err != raft.ErrTransportShutdown {
			t.Errorf("the next: %v", err)
		}
		if _, err := a.AppendEntriesPipeline("b", "1"); err != raft.ErrTransportShutdown {
			t.Errorf("a pipeline: %v", err)
		}
	})
	t.Run("the node is closed", func(t *testing.T) {
		a, b, nodes := pair(t, hashicorp.Config{})
		done := vote(a)
		next(t, b)
		nodes[0].Close()
		if err := outcome(t, done); err != raft.ErrTransportShutdown {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the message is too large", func(t *testing.T) {
		a, _, _ := pair(t, hashicorp.Config{}, func(cfg *cluster.Config) { cfg.MaxMessageBytes = 100_000 })
		large := entry(1)
		large.Entries[0].Data = make([]byte, 200_000)
		err := a.AppendEntries("b", "1", large, new(raft.AppendEntriesResponse))
		if !errors.Is(err, cluster.ErrTooLarge) || !strings.Contains(err.Error(), "MaxAppendEntries") {
			t.Errorf("got %v", err)
		}
	})
}

func TestANodeHasOneTransportAtATime(t *testing.T) {
	node := clustertest.StartLocal(t, 1)[0]
	first := open(t, node, hashicorp.Config{})
	if _, err := hashicorp.New(node, hashicorp.Config{}); err == nil || !strings.Contains(err.Error(), "server 0") {
		t.Errorf("a second one: %v", err)
	}
	first.Close()
	open(t, node, hashicorp.Config{})
	first.Close() // does not open the way for a third
	if _, err := hashicorp.New(node, hashicorp.Config{}); err == nil {
		t.Error("a third one is no error")
	}
}

func TestAWrongConfigurationIsAnErrorThatNamesTheField(t *testing.T) {
	node := clustertest.StartLocal(t, 1)[0]
	_, err := hashicorp.New(node, hashicorp.Config{Timeout: -1, HeartbeatTimeout: -1, MaxInFlight: -1, SnapshotWindow: 1})
	for _, field := range []string{"Timeout", "HeartbeatTimeout", "MaxInFlight", "SnapshotWindow"} {
		if err == nil || !strings.Contains(err.Error(), "Config."+field+" ") {
			t.Errorf("%v does not name %s", err, field)
		}
	}
}

func TestWhatIsNotRaftsGoesToOther(t *testing.T) {
	nodes := clustertest.StartLocal(t, 2, patient)
	others := make(chan *cluster.Envelope, 1)
	open(t, nodes[1], hashicorp.Config{Other: func(env *cluster.Envelope) { others <- env }})
	for _, msg := range []any{"hello", []byte(nil), []byte("raft/hashicorp.bulk"), make([]byte, 100<<10)} {
		if err := nodes[0].Send(context.Background(), &cluster.Envelope{Pid: 1, Msg: msg}); err != nil {
			t.Fatal(err)
		}
		select {
		case env := <-others:
			if env.Pid != 0 || !reflect.DeepEqual(env.Msg, msg) {
				t.Errorf("got %+v", env)
			}
		case <-time.After(deadline):
			t.Error("it has not come")
		}
	}
}

func TestWhatNobodyTakesIsToldOncePerType(t *testing.T) {
	nodes := clustertest.StartLocal(t, 2, patient)
	var log bytes.Buffer
	transport := open(t, nodes[1], hashicorp.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 3 {
		for _, msg := range []any{"hello", 7} {
			if err := nodes[0].Send(context.Background(), &cluster.Envelope{Pid: 1, Msg: msg}); err != nil {
				t.Fatal(err)
			}
		}
	}
	a := open(t, nodes[0], hashicorp.Config{})
	done := result(func() error {
		return a.RequestVote("b", "1", &raft.RequestVoteRequest{}, new(raft.RequestVoteResponse))
	})
	rpc := next(t, transport) // behind all of them
	rpc.Respond(&raft.RequestVoteResponse{}, nil)
	if err := outcome(t, done); err != nil {
		t.Error(err)
	}
	transport.Close()
	if got := strings.Count(log.String(), "\n"); got != 2 || !strings.Contains(log.String(), "type=string") || !strings.Contains(log.String(), "type=int") {
		t.Errorf("the log says %d lines:\n%s", got, &log)
	}
}

// failing is a snapshot that cannot be read to its end.
func failing(n int64) io.Reader {
	return io.MultiReader(io.LimitReader(zeros{}, n), iotest.ErrReader(errors.New("bad sector")))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
