//go:build !zmtpqueue

package zmtp

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// isApart reports whether a goroutine of its own reads the one stream of a listener.
func isApart(l *Listener) bool {
	l.in.mu.Lock()
	defer l.in.mu.Unlock()
	for _, s := range l.in.streams {
		return s.input.(*fdInput).apart
	}
	return false
}

// What is bulk is read beside who receives, and what comes behind it is not; the order stays.
func TestBulkIsReadByAGoroutineOfItsOwnUntilNothingMoreComes(t *testing.T) {
	endpoint := freeEndpoint(t)
	l := listen(t, endpoint).(*Listener)
	p := push(t, endpoint)
	const rounds, larges = 5, 60
	sent := make(chan struct{})
	go func() { // It ends when all is written.
		defer close(sent)
		for i := range rounds {
			for j := range larges {
				p.Write([]byte(frameOf(0, fmt.Sprintf("%d %d ", i, j)+strings.Repeat("l", 130<<10))))
			}
			for j := range larges {
				p.Write([]byte(frameOf(0, fmt.Sprintf("%d %d ", i, larges+j)+strings.Repeat("s", 100))))
			}
		}
	}()
	apart := false
	for i := range rounds {
		for j := range 2 * larges {
			head, _, err := l.Recv(time.Now().Add(limit))
			if want := fmt.Sprintf("%d %d ", i, j); err != nil || !strings.HasPrefix(string(head), want) {
				t.Fatalf("received %.10q, %v, want %q", head, err, want)
			}
			apart = apart || isApart(l)
		}
	}
	<-sent
	if !apart {
		t.Error("who receives has read all by itself")
	}
	until(t, "it is handed back", func() bool { return !isApart(l) })
	p.write(frameOf(0, "last"))
	if head, _, err := l.Recv(time.Now().Add(limit)); err != nil || string(head) != "last" {
		t.Errorf("received %q, %v", head, err)
	}
}

// A request that is as large as many records is read by who receives, if its sender waits for the reply before the next; of one behind another
// the rest is not.
func TestLargeFramesOneAtATimeAreReadWhereTheyAreReceived(t *testing.T) {
	endpoint := freeEndpoint(t)
	l := listen(t, endpoint).(*Listener)
	p := push(t, endpoint)
	const size = 100 << 10
	large := []byte(frameOf(0, strings.Repeat("l", size)))
	recv := func() {
		t.Helper()
		if head, tail, err := l.Recv(time.Now().Add(limit)); err != nil || len(head)+len(tail) != size {
			t.Fatalf("received %d and %d bytes, %v", len(head), len(tail), err)
		}
	}
	for range 20 {
		until(t, "who receives has waited", func() bool {
			before := l.in.pauses
			if _, _, err := l.Recv(time.Now().Add(time.Millisecond)); err == nil {
				t.Fatal("something comes that was not sent")
			}
			return l.in.pauses > before
		})
		p.Write(large)
		recv()
		if isApart(l) || l.in.c != nil {
			t.Fatal("a lone frame is read by a goroutine of its own")
		}
	}
	sent := make(chan struct{})
	go func() { // It ends when all is written.
		defer close(sent)
		for range 200 {
			p.Write(large)
		}
	}()
	for range 200 {
		recv()
	}
	if <-sent; l.in.c == nil {
		t.Error("of many in a row who receives has read all by itself")
	}
}

func TestAListenerClosesWhileBulkIsRead(t *testing.T) {
	for range 10 {
		endpoint := freeEndpoint(t)
		l, err := Network{}.Listen(endpoint, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		p := push(t, endpoint)
		done := make(chan struct{})
		go func() { // The end of the connection ends it.
			defer close(done)
			large := []byte(frameOf(0, strings.Repeat("l", 130<<10)))
			for err := error(nil); err == nil; {
				_, err = p.Write(large)
			}
		}()
		for end := time.Now().Add(limit); !isApart(l.(*Listener)); {
			if _, _, err := l.Recv(end); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		<-done
	}
}
