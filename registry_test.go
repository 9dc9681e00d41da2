//go:build unix

package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// attempt is a way to make nodes for a registry that a test holds up.
type attempt struct {
	began   chan int     // receives the number of each attempt
	outcome chan error   // is taken by each; nil: a node
	count   atomic.Int64 // of attempts
	unlist  []func()     // of the nodes
}

func newAttempt() *attempt { return &attempt{began: make(chan int, 10), outcome: make(chan error)} }

func (a *attempt) make(unlist func()) (*Node, error) {
	a.began <- int(a.count.Add(1))
	if err := <-a.outcome; err != nil {
		return nil, err
	}
	a.unlist = append(a.unlist, unlist)
	return &Node{closing: make(chan struct{}), done: make(chan struct{})}, nil
}

// made is what get returned.
type made struct {
	n   *Node
	err error
}

// ask calls get, and returns where its result comes.
func ask(r *registry, k nodeKey, a *attempt) <-chan made {
	c := make(chan made, 1)
	go func() { // It ends when get returns, which each test waits for.
		n, err := r.get(k, a.make)
		c <- made{n, err}
	}()
	return c
}

func TestWhileANodeIsMadeNobodyElseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r registry
		slow, fast := newAttempt(), newAttempt()
		first := ask(&r, nodeKey{0, "slow"}, slow)
		<-slow.began
		other := ask(&r, nodeKey{0, "fast"}, fast)
		fast.outcome <- nil
		n := (<-other).n
		if n == nil {
			t.Fatal("no node")
		}
		fast.unlist[0]() // as a Shutdown does
		if len(r.nodes) != 1 {
			t.Errorf("%d nodes are listed, want the one that is being made", len(r.nodes))
		}
		slow.outcome <- nil
		<-first
	})
}

func TestCallsForOneServerShareOneAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r registry
		a, k := newAttempt(), nodeKey{0, "f"}
		var calls []<-chan made
		for range 10 {
			calls = append(calls, ask(&r, k, a))
		}
		synctest.Wait()
		a.outcome <- nil
		first := <-calls[0]
		for _, c := range calls[1:] {
			if got := <-c; got != first || got.n == nil {
				t.Errorf("got %v, want %v", got, first)
			}
		}
		if got := a.count.Load(); got != 1 {
			t.Errorf("%d attempts, want 1", got)
		}
	})
}

func TestWhoWaitedForAnAttemptThatFailedTriesAgainOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r registry
		a, k := newAttempt(), nodeKey{0, "f"}
		first := ask(&r, k, a)
		<-a.began
		var later []<-chan made
		for range 5 {
			later = append(later, ask(&r, k, a))
		}
		synctest.Wait()
		early, late := errors.New("early"), errors.New("late")
		a.outcome <- early
		if got := <-first; got.err != early {
			t.Errorf("the first: %v, want %v", got.err, early)
		}
		// One of the others tries, and tells the rest.
		synctest.Wait()
		a.outcome <- late
		for _, c := range later {
			if got := <-c; got.err != late {
				t.Errorf("one that came later: %v, want %v", got.err, late)
			}
		}
		if got := a.count.Load(); got != 2 {
			t.Errorf("%d attempts, want 2", got)
		}
		if len(r.nodes) != 0 {
			t.Errorf("%d attempts that failed are listed", len(r.nodes))
		}
	})
}

func TestANodeThatIsClosingIsWaitedForWithoutHoldingUpOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r registry
		a, k := newAttempt(), nodeKey{0, "f"}
		call := ask(&r, k, a)
		a.outcome <- nil
		old := (<-call).n
		close(old.closing)
		again := ask(&r, k, a)
		synctest.Wait()
		if got := a.count.Load(); got != 1 {
			t.Errorf("a node is made while the old one is closing")
		}
		other := ask(&r, nodeKey{1, "f"}, a)
		a.outcome <- nil
		<-other
		a.unlist[0]()
		close(old.done)
		a.outcome <- nil
		if got := <-again; got.n == nil || got.n == old {
			t.Errorf("got %v, want a new node", got)
		}
	})
}

func TestAnAttemptThatPanicsHoldsUpNobody(t *testing.T) {
	var r registry
	k := nodeKey{0, "f"}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic does not reach the caller")
			}
		}()
		r.get(k, func(func()) (*Node, error) { panic("x") })
	}()
	a := newAttempt()
	call := ask(&r, k, a)
	a.outcome <- nil
	if got := <-call; got.n == nil {
		t.Errorf("got %v, want a node", got.err)
	}
}

func TestAFileIsParsedOnceForAllServersThatUseItUnchanged(t *testing.T) {
	text := []byte(`{"peers": [{"id": 0, "address": "mem://parsed/0", "role": "voter"}, {"id": 1, "address": "mem://parsed/1"}]}`)
	path := filepath.Join(t.TempDir(), "Config.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var p parsedFiles
	load := func() Config {
		t.Helper()
		c, err := loadConfig(path, p.parse)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := load()
	if again := load(); &again.Peers[0] != &first.Peers[0] {
		t.Error("the file was parsed again")
	}
	// A change is seen however fast it comes, and at the same size.
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(text, []byte("voter"), []byte("other"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if changed := load(); string(changed.Peers[0].Extra["role"]) != `"other"` {
		t.Errorf("after a change the file has %s", changed.Peers[0].Extra["role"])
	}
	for i := range 2 * maxParsed {
		if _, err := p.parse(fmt.Sprint("file ", i), text); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.files) > maxParsed {
		t.Errorf("%d files are remembered, want at most %d", len(p.files), maxParsed)
	}
	if _, err := p.parse("large", append(bytes.Repeat([]byte(" "), maxParsedBytes), text...)); err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(p.files, func(f *parsedFile) bool { return f.path == "large" }) {
		t.Errorf("a file of more than %d bytes is remembered", maxParsedBytes)
	}
}
