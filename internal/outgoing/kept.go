package outgoing

import (
	"slices"

	"github.com/abhishekg16/cluster/internal/fifo"
	"github.com/abhishekg16/cluster/internal/wire"
)

// kept are the parcels that were written and that the sender may want to write again, in the order of their records. The
// link's mu guards it.
type kept struct {
	parcels []*parcel
	room    fifo.Memory[*parcel]
	used    *parcel // is being written, and not to be freed: with io held others may read it, too
}

// add keeps a parcel that was written whole.
func (k *kept) add(p *parcel) { k.parcels = k.room.Append(k.parcels, p) }

// find returns the parcel with a record; nil if it is not kept.
func (k *kept) find(seq uint64) *parcel {
	i, found := slices.BinarySearchFunc(k.parcels, seq, func(p *parcel, seq uint64) int {
		switch {
		case seq < p.seq:
			return 1
		case seq >= p.seq+uint64(p.count):
			return -1
		}
		return 0
	})
	if !found {
		return nil
	}
	return k.parcels[i]
}

// release frees the parcels that end before a place, or there.
func (k *kept) release(before wire.Position) {
	n := 0
	for n < len(k.parcels) && k.parcels[n].seq+uint64(k.parcels[n].count) <= before.Seq {
		p := k.parcels[n]
		if n++; p == k.used {
			p.done = true
		} else {
			p.free()
		}
	}
	k.parcels = k.room.Drop(k.parcels, n)
}

// use notes which parcel is being written; nil: none is any more.
func (k *kept) use(p *parcel) {
	if k.used != nil && k.used.done {
		k.used.free()
	}
	k.used = p
}
