package hashicorp

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
)

const deadline = time.Minute

// played starts a transport, and another server whose messages the test plays.
func played(t *testing.T, cfg Config) (*Transport, *cluster.Node) {
	t.Helper()
	nodes := clustertest.StartLocal(t, 2, func(cfg *cluster.Config) { cfg.SendTimeout = deadline })
	transport, err := New(nodes[1], cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { transport.Close() })
	return transport, nodes[0]
}

func say(t *testing.T, node *cluster.Node, messages ...any) {
	t.Helper()
	for _, msg := range messages {
		switch m := msg.(type) {
		case request:
			msg = []byte(append(append(writer(nil).head(isRequest, m.Number), byte(m.Kind)), m.Body...))
		case response:
			msg = m.message()
		}
		if err := node.Send(context.Background(), &cluster.Envelope{Pid: 1, Msg: msg}); err != nil {
			t.Fatal(err)
		}
	}
}

// answer is the next response.
func answer(t *testing.T, node *cluster.Node) response {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	for {
		env, err := node.Receive(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if b, ok := env.Msg.([]byte); ok {
			if r, ok := decodeMessage(b).(response); ok {
				return r
			}
		}
	}
}

func TestARequestThatCannotBeReadIsAnsweredWithAnError(t *testing.T) {
	_, other := played(t, Config{})
	for _, tt := range []struct {
		name, want string
		request    request
	}{
		{"of a kind that is not known", "kind 99", request{1, 99, nil}},
		{"that is malformed", "malformed RequestVote", request{2, requestVote, []byte{1, 2, 3}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			say(t, other, tt.request)
			if got := answer(t, other); got.Number != tt.request.Number || !strings.Contains(got.Failed, tt.want) {
				t.Errorf("got %+v, want one that says %q", got, tt.want)
			}
		})
	}
}

// What one server asks for is bounded, and the rest is answered with an error.
func TestRequestsThatRaftDoesNotTakeAreRefusedBeyondABound(t *testing.T) {
	transport, other := played(t, Config{Timeout: deadline})
	body := encodeRequest(&raft.RequestVoteRequest{})
	// One more than the queue and Consumer hold may be on its way between them.
	const most, refused = consumerSize + maxRequests + 1, maxRequests / 2
	const count = most + refused
	var sent, got []uint64
	for n := range uint64(count) {
		say(t, other, request{n, requestVote, body})
		sent = append(sent, n)
	}
	// Those beyond the bound are answered while nobody takes anything.
	for range refused {
		r := answer(t, other)
		if r.Failed != errBusy.Error() {
			t.Fatalf("got %+v", r)
		}
		got = append(got, r.Number)
	}
	stop := make(chan struct{})
	defer close(stop)
	go func() { // ends with the test
		for {
			select {
			case rpc := <-transport.Consumer():
				rpc.Respond(&raft.RequestVoteResponse{}, nil)
			case <-stop:
				return
			}
		}
	}()
	for len(got) < count {
		got = append(got, answer(t, other).Number)
	}
	slices.Sort(got)
	if !slices.Equal(got, sent) {
		t.Errorf("the answers were to %v", got)
	}
}

func TestASnapshotWithAGapIsAnError(t *testing.T) {
	const window = pieceBytes
	first := piece{Number: 1, Data: []byte("0123")}
	for _, tt := range []struct {
		name string
		next piece
		want string
	}{
		{"a piece is missing", piece{Number: 1, Offset: 8, Data: []byte("89")}, "lost"},
		{"a piece comes twice", first, "lost"},
		{"more comes than there is room for", piece{Number: 1, Offset: 4, Data: make([]byte, window)}, "room"},
		{"its sender gives up", piece{Number: 1, Failed: "no disk"}, "no disk"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			transport, other := played(t, Config{SnapshotWindow: window})
			say(t, other, request{1, installSnapshot, encodeRequest(&raft.InstallSnapshotRequest{Size: 100})}, first, tt.next)
			select {
			case rpc := <-transport.Consumer():
				text, err := io.ReadAll(rpc.Reader)
				if string(text) != "0123" || err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("Raft reads %q, %v; want what came, and an error that says %q", text, err, tt.want)
				}
				rpc.Respond(nil, err)
			case <-time.After(deadline):
				t.Fatal("no request has come")
			}
			if got := answer(t, other); !strings.Contains(got.Failed, tt.want) {
				t.Errorf("the sender gets %+v", got)
			}
		})
	}
}

// Pieces and responses that belong to nothing are no reason for anything.
func TestWhatBelongsToNoRequestIsIgnored(t *testing.T) {
	transport, other := played(t, Config{})
	say(t, other, piece{Number: 5, Data: []byte("x")}, progress{Number: 5, Limit: 1}, response{Number: 5}, request{6, timeoutNow, encodeRequest(&raft.TimeoutNowRequest{})})
	select {
	case rpc := <-transport.Consumer():
		rpc.Respond(&raft.TimeoutNowResponse{}, nil)
	case <-time.After(deadline):
		t.Fatal("the request behind them has not come")
	}
	if got := answer(t, other); got.Number != 6 || got.Failed != "" {
		t.Errorf("got %+v", got)
	}
}

// waiting counts the answerers that have no request.
func (s *answerers) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.idle)
}

// settled waits until a number of answerers wait.
func settled(t *testing.T, transport *Transport, count int) {
	t.Helper()
	for end := time.Now().Add(deadline); transport.answerers.waiting() != count; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d answerers wait, want %d", transport.answerers.waiting(), count)
		}
	}
}

// take is the next request for Raft.
func take(t *testing.T, transport *Transport) raft.RPC {
	t.Helper()
	select {
	case rpc := <-transport.Consumer():
		return rpc
	case <-time.After(deadline):
		t.Fatal("no request has come")
		panic("unreachable")
	}
}

// An answerer serves one request after the other. What Raft says a second time to one is not the answer to the next.
func TestASecondAnswerOfRaftsIsNotThatToTheNextRequest(t *testing.T) {
	transport, other := played(t, Config{})
	body := encodeRequest(&raft.RequestVoteRequest{})
	var before []raft.RPC
	for n := range uint64(3) {
		say(t, other, request{n, requestVote, body})
		rpc := take(t, transport)
		for _, old := range before {
			select {
			case old.RespChan <- raft.RPCResponse{Response: &raft.RequestVoteResponse{Granted: true}}:
			default: // It was answered twice already.
			}
		}
		rpc.Respond(&raft.RequestVoteResponse{Term: n}, nil)
		r := answer(t, other)
		var got raft.RequestVoteResponse
		if err := r.into(&got); err != nil || r.Number != n || got.Granted || got.Term != n {
			t.Errorf("request %d is answered as %d: %+v, %v", n, r.Number, got, err)
		}
		before = append(before, rpc)
		settled(t, transport, 1) // so that it is the same one each time
	}
}

func TestOnlySoManyAnswerersWaitForRequests(t *testing.T) {
	transport, other := played(t, Config{Timeout: deadline})
	body := encodeRequest(&raft.RequestVoteRequest{})
	const count = 2 * maxIdle
	var all []raft.RPC
	for n := range uint64(count) {
		say(t, other, request{n, requestVote, body})
		all = append(all, take(t, transport))
	}
	if got := transport.answerers.waiting(); got != 0 {
		t.Errorf("%d wait while all requests are Raft's", got)
	}
	for _, rpc := range all {
		rpc.Respond(&raft.RequestVoteResponse{}, nil)
	}
	for range count {
		answer(t, other)
	}
	settled(t, transport, maxIdle)
}

// A Raft that does not answer keeps nobody waiting for ever.
func TestAnAnswerIsWaitedForWithinBounds(t *testing.T) {
	transport, other := played(t, Config{Timeout: 10 * time.Millisecond})
	body := encodeRequest(&raft.RequestVoteRequest{})
	say(t, other, request{1, requestVote, body})
	first := take(t, transport)
	settled(t, transport, 1)
	say(t, other, request{2, requestVote, body})
	second := take(t, transport)
	first.Respond(&raft.RequestVoteResponse{}, nil) // which is too late
	second.Respond(&raft.RequestVoteResponse{}, nil)
	if got := answer(t, other); got.Number != 2 {
		t.Errorf("got the answer to request %d, want that to 2", got.Number)
	}
}
