package transporttest

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
)

func (k kit) TestAFrameComesWithTheKeyThatItsSenderHasProved(t *testing.T) {
	server := Pair(t, all)
	l, endpoint := Guarded(t, k.network, server)
	a, b := Pair(t, all), Pair(t, all)
	first, second := Join(t, k.network, endpoint, a, server.Public), Join(t, k.network, endpoint, b, server.Public)
	for range 3 {
		Send(t, first, []byte("x"), []byte("tail"))
		if got := Hears(t, l, "xtail"); got != a.Public {
			t.Errorf("the key of the first is %q, want %q", got, a.Public)
		}
		Send(t, second, []byte("y"), nil)
		if got := Hears(t, l, "y"); got != b.Public {
			t.Errorf("the key of the second is %q, want %q", got, b.Public)
		}
	}
}

func (k kit) TestEachListenerDecidesForItself(t *testing.T) {
	strict, lax := Pair(t, none), Pair(t, all)
	_, closed := Guarded(t, k.network, strict)
	l, open := Guarded(t, k.network, lax)
	plain := FreeEndpoint(t)
	everybody := k.listen(t, plain)
	self := Pair(t, all)
	out := Join(t, k.network, closed, self, strict.Public)
	Send(t, Join(t, k.network, open, self, lax.Public), []byte("x"), nil)
	Hears(t, l, "x")
	Send(t, k.dial(t, plain), []byte("y"), nil)
	if got := Hears(t, everybody, "y"); got != "" {
		t.Errorf("a listener without keys has the key %q of a sender", got)
	}
	if err := out.Wait(time.Now().Add(200 * time.Millisecond)); !errors.Is(err, transport.ErrTimeout) {
		t.Errorf("who is not let in waits for the connection: %v, want %v", err, transport.ErrTimeout)
	}
}

func (k kit) TestWhereNothingAdmitsNobodyIsLetIn(t *testing.T) {
	server := Pair(t, nil)
	l, endpoint := Guarded(t, k.network, server)
	c := Join(t, k.network, endpoint, Pair(t, all), server.Public)
	if err := c.Wait(time.Now().Add(200 * time.Millisecond)); !errors.Is(err, transport.ErrTimeout) {
		t.Errorf("who is not let in waits for the connection: %v, want %v", err, transport.ErrTimeout)
	}
	if head, _, err := l.Recv(time.Now().Add(10 * time.Millisecond)); !errors.Is(err, transport.ErrTimeout) {
		t.Errorf("received %q, %v", head, err)
	}
}

func (k kit) TestWhoIsNotLetInTriesAgain(t *testing.T) {
	var open atomic.Bool
	var asked atomic.Bool
	server := Pair(t, func(string) bool { asked.Store(true); return open.Load() })
	l, endpoint := Guarded(t, k.network, server)
	c := Join(t, k.network, endpoint, Pair(t, all), server.Public)
	Until(t, "somebody asks", asked.Load)
	open.Store(true)
	Send(t, c, []byte("x"), nil)
	Hears(t, l, "x")
}
