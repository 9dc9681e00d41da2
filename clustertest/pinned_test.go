package clustertest

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
)

// What a seed decides is the same in each version of Go, on each kind of machine, and in
// each version of this package that does not say otherwise: a seed that has shown a fault is
// worth keeping.
func TestWhatASeedDecidesIsPinned(t *testing.T) {
	n := &Network{seed: 42}
	for i, want := range []float64{0.5792583395141607, 0.505272398867548, 0.8532869609141933} {
		x := &parcel{Message: Message{From: 1, To: 2, life: 1, number: uint64(i)}}
		if got := n.chance("loss", x); got != want {
			t.Errorf("for message %d of seed 42 %v is drawn, want %v", i, got, want)
		}
	}
	for seed, want := range []string{"0b7f4761b4f5f922", "5bc15636e65f9b72", "84293b4b2a0256f1"} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := NewNetwork(t, uint64(seed), 5)
				net.Start()
				net.Disturb(time.Minute, func(*cluster.Node) {})
				net.Sleep(2 * time.Minute)
				text := ""
				for _, e := range net.Events() {
					text += e.String() + "\n"
				}
				if got := fmt.Sprintf("%x", sha256.Sum256([]byte(text)))[:16]; got != want {
					t.Errorf("seed %d disturbs in the way of %q, want %q:\n%s", seed, got, want, text)
				}
			})
		})
	}
}
