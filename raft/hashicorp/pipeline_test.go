package hashicorp_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/raft/hashicorp"
)

func pipe(t *testing.T, a *hashicorp.Transport) raft.AppendPipeline {
	t.Helper()
	p, err := a.AppendEntriesPipeline("1", hashicorp.Address(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func push(t *testing.T, p raft.AppendPipeline, index uint64) raft.AppendFuture {
	t.Helper()
	var f raft.AppendFuture
	sent := result(func() (err error) {
		f, err = p.AppendEntries(entry(index), new(raft.AppendEntriesResponse))
		return err
	})
	if err := outcome(t, sent); err != nil {
		t.Fatal(err)
	}
	return f
}

// pull is the next that comes out of a pipeline, which must be the request with an index.
func pull(t *testing.T, p raft.AppendPipeline, index uint64) raft.AppendFuture {
	t.Helper()
	select {
	case f := <-p.Consumer():
		if got := f.Request().Entries[0].Index; got != index {
			t.Fatalf("request %d is done, want %d", got, index)
		}
		return f
	case <-time.After(deadline):
		t.Fatalf("request %d is not done", index)
		panic("unreachable")
	}
}

// agree answers the next request for Raft, which must be that with an index.
func agree(t *testing.T, transport *hashicorp.Transport, index uint64) {
	t.Helper()
	rpc := next(t, transport)
	if got := rpc.Command.(*raft.AppendEntriesRequest).Entries[0].Index; got != index {
		t.Fatalf("request %d has come, want %d", got, index)
	}
	rpc.Respond(&raft.AppendEntriesResponse{LastLog: index, Success: true}, nil)
}

// A request that gets no reply ends when it is late, and those behind it, which have theirs, after it.
func TestAPipelinedRequestWithoutAReplyHoldsUpTheOthersForTimeoutAtMost(t *testing.T) {
	a, b, _ := pair(t, hashicorp.Config{Timeout: time.Second})
	p := pipe(t, a)
	for range 2 { // The second time, the timer is armed anew.
		push(t, p, 1)
		push(t, p, 2)
		next(t, b) // and is not answered
		agree(t, b, 2)
		if err := pull(t, p, 1).Error(); err == nil || !strings.Contains(err.Error(), "server 1 has not answered the AppendEntries for 1s; it may have seen it") {
			t.Errorf("the first: %v", err)
		}
		f := pull(t, p, 2)
		if err := f.Error(); err != nil || f.Response().LastLog != 2 {
			t.Errorf("the second: %+v, %v", f.Response(), err)
		}
	}
}

// Who does not read what is done holds up the next requests, and loses nothing.
func TestAPipelineWhoseConsumerIsNotReadHoldsUpRequestsAndKeepsTheOrder(t *testing.T) {
	const (
		done, inFlight = 128, 2 // what Consumer holds, and what may be under way beside it
		count          = done + inFlight + 20
	)
	a, b, _ := pair(t, hashicorp.Config{MaxInFlight: inFlight})
	p := pipe(t, a)
	accepted := make(chan uint64, count)
	sent := result(func() error {
		for i := uint64(1); i <= count; i++ {
			if _, err := p.AppendEntries(entry(i), new(raft.AppendEntriesResponse)); err != nil {
				return err
			}
			accepted <- i
		}
		return nil
	})
	answered := result(func() error {
		for i := uint64(1); i <= count; i++ {
			select {
			case rpc := <-b.Consumer():
				rpc.Respond(&raft.AppendEntriesResponse{LastLog: i, Success: true}, nil)
			case <-time.After(deadline):
				return errors.New("no request has come")
			}
		}
		return nil
	})
	for range done + inFlight {
		select {
		case <-accepted:
		case <-time.After(deadline):
			t.Fatal("too few requests are taken")
		}
	}
	select {
	case i := <-accepted:
		t.Errorf("request %d is taken, though %d that are done were not read", i, done+inFlight)
	case <-time.After(50 * time.Millisecond):
	}
	for i := uint64(1); i <= count; i++ {
		if f := pull(t, p, i); f.Error() != nil || f.Response().LastLog != i {
			t.Fatalf("request %d: %+v, %v", i, f.Response(), f.Error())
		}
	}
	for _, done := range []<-chan error{sent, answered} {
		if err := outcome(t, done); err != nil {
			t.Error(err)
		}
	}
}

// What was not sent is not under way, and what comes after it is.
func TestAPipelineGoesOnAfterARequestThatIsTooLarge(t *testing.T) {
	a, b, _ := pair(t, hashicorp.Config{}, func(cfg *cluster.Config) { cfg.MaxMessageBytes = 100_000 })
	p := pipe(t, a)
	large := entry(1)
	large.Entries[0].Data = make([]byte, 200_000)
	for range 5 { // more than may be under way
		sent := result(func() error {
			_, err := p.AppendEntries(large, new(raft.AppendEntriesResponse))
			return err
		})
		if err := outcome(t, sent); !errors.Is(err, cluster.ErrTooLarge) {
			t.Fatalf("got %v", err)
		}
	}
	push(t, p, 2)
	agree(t, b, 2)
	if err := pull(t, p, 2).Error(); err != nil {
		t.Error(err)
	}
}
