package transport

import (
	"slices"
	"testing"
)

func TestABufferIsUsedAgainOnlyIfItIsOfThePool(t *testing.T) {
	most := pools[len(pools)-1].size
	sizes := []int{0, 64, leastPooled - 1, leastPooled, 256 << 10}
	for i := range pools {
		sizes = append(sizes, pools[i].size-1, pools[i].size, pools[i].size+1)
	}
	for _, size := range sizes {
		b := GetBuffer(size)
		if len(b) != size {
			t.Errorf("a buffer of %d bytes has %d", size, len(b))
		}
		pooled := IsPooled(b)
		if want := size >= leastPooled && size <= most; pooled != want {
			t.Errorf("a buffer of %d bytes is of the pool: %v, want %v", size, pooled, want)
		}
		if pooled && cap(b) > size*22/10 {
			t.Errorf("%d bytes are in a buffer of %d", size, cap(b))
		}
		for i := range b {
			b[i] = byte(i)
		}
		c := CopyBuffer(b)
		if !slices.Equal(b, c) || c == nil || size > 0 && &b[0] == &c[0] || IsPooled(c) != pooled {
			t.Errorf("a copy of %d bytes has %d, of the pool: %v; want others like them, %v", size, len(c), IsPooled(c), pooled)
		}
		PutBuffer(b)
		PutBuffer(c)
		if own := OwnBuffer(size); len(own) != size || IsPooled(own) || cap(own) > size+1 {
			t.Errorf("memory of its own for %d bytes has %d of %d, of the pool: %v", size, len(own), cap(own), IsPooled(own))
		}
	}
	// What others have allocated is left to them.
	from := make([]byte, most)
	for size := 0; size <= most; size++ {
		if b := append([]byte(nil), from[:size]...); IsPooled(b) {
			t.Errorf("%d bytes that were copied are taken for a buffer", size)
		}
		if size > 32<<10 && !slices.ContainsFunc(sizes, func(s int) bool { return max(size-s, s-size) < 100 }) {
			size += 50 // the allocator gives whole pages
		}
	}
	PutBuffer(nil)
	PutBuffer(make([]byte, 100))
	// What two have at the same time is not the same.
	a, b := GetBuffer(60<<10), GetBuffer(60<<10)
	if &a[0] == &b[0] {
		t.Error("a buffer was given out twice")
	}
}
