package delivery

import (
	"testing"
	"time"
)

func TestABudgetIsTakenInTheOrderOfComing(t *testing.T) {
	b := &budget{free: 10}
	if !b.tryTake(8) {
		t.Fatal("there is enough, and it is not given")
	}
	stop := make(chan struct{})
	defer close(stop)
	took := make(chan int)
	for i, amount := range []int{5, 1} {
		go func() { // It ends when it has its part, or with the test.
			if b.take(amount, stop) {
				took <- amount
			}
		}()
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			b.mu.Lock()
			n := len(b.waiting)
			b.mu.Unlock()
			if n == i+1 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d wait, want %d: one overtakes another", n, i+1)
			}
		}
	}
	if b.tryTake(1) {
		t.Error("who does not wait overtakes those who do")
	}
	b.give(8)
	if sum := <-took + <-took; sum != 6 || b.free != 4 {
		t.Errorf("%d are taken, and %d are free; want 6 and 4", sum, b.free)
	}
}

func TestReservations(t *testing.T) {
	for _, c := range []struct {
		name                          string
		maxMessage, maxBytes, payload int
		want                          int
		class                         int
	}{
		{"a small message", 64 << 20, 16 << 20, 100, 6400 + 64<<10, 0},
		{"one that needs a quarter", 64 << 20, 16 << 20, 64<<10 - 1<<10, 4 << 20, 0},
		{"one that needs more", 64 << 20, 16 << 20, 64 << 10, 4<<20 + 64<<10, 1},
		{"one that needs half of the largest", 64 << 20, 16 << 20, 4<<20 - 1<<10, 256 << 20, 1},
		{"one that needs more than that", 64 << 20, 16 << 20, 4 << 20, 256<<20 + 64<<10, 2},
		{"the largest", 64 << 20, 16 << 20, 64 << 20, 512 << 20, 2},
		{"where little may wait", 1 << 20, 1 << 10, 1, 64 + 64<<10, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBudgets(c.maxMessage, c.maxBytes)
			got := b.reservation(c.payload)
			if got != c.want || b.of(got) != &b.classes[c.class] {
				t.Errorf("%d, want %d, of class %d: %v", got, c.want, c.class, b.of(got) == &b.classes[c.class])
			}
			if got > b.of(got).free {
				t.Errorf("%d can never be had of %d", got, b.of(got).free)
			}
		})
	}
}

func TestTheBytesInAChannelAreBounded(t *testing.T) {
	const limit = 256 << 10
	for _, size := range []int{100, 1 << 10, 10 << 10, limitStep, 100 << 10, limit, 2 * limit} {
		l := &byteLimit{limit: limit}
		queued, taken := 0, 0
		for range 1000 {
			for l.fits(queued, size) {
				l.push(size)
				queued++
			}
			if queued == 0 || queued > 1 && queued*size > limit {
				t.Fatalf("size %d: %d are queued", size, queued)
			}
			if least := limit/size - 2*limitStep/size - 1; queued < least {
				t.Fatalf("size %d: %d are queued, want %d at least", size, queued, least)
			}
			n := 1 + taken%queued
			queued, taken = queued-n, taken+n
		}
	}
}
