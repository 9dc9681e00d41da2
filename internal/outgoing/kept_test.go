package outgoing

import (
	"testing"

	"github.com/abhishekg16/cluster/internal/wire"
)

func TestKeptParcelsAreFoundAndFreedInTheirOrder(t *testing.T) {
	var k kept
	all := make([]*parcel, 5)
	for i := range all {
		all[i] = newParcel()
		all[i].seq, all[i].count = uint64(1+10*i), 10
		k.add(all[i])
	}
	for seq := uint64(0); seq < 60; seq++ {
		want := (*parcel)(nil)
		if 1 <= seq && seq <= 50 {
			want = all[(seq-1)/10]
		}
		if got := k.find(seq); got != want {
			t.Errorf("record %d is in %p, want %p", seq, got, want)
		}
	}
	k.use(all[1])
	k.release(wire.Position{Seq: 20, Offset: 5}) // in the second
	if len(k.parcels) != 4 || k.find(10) != nil || k.find(11) != all[1] {
		t.Errorf("%d parcels are kept", len(k.parcels))
	}
	k.release(wire.Position{Seq: 31})
	if len(k.parcels) != 2 || !all[1].done {
		t.Errorf("%d parcels are kept; the one that is being written is freed", len(k.parcels))
	}
	if k.use(nil); k.used != nil {
		t.Error("one is being written still")
	}
	k.release(wire.Position{Seq: 100})
	if len(k.parcels) != 0 {
		t.Errorf("%d parcels are kept at last", len(k.parcels))
	}
}
