package transport

import "testing"

func TestABufferIsUsedAgainOnlyIfItIsOfThePool(t *testing.T) {
	for _, size := range []int{0, 64, leastPooled - 1, leastPooled, batchBuffer, batchBuffer + 1, pieceBuffer, pieceBuffer + 1, 256 << 10} {
		b := GetBuffer(size)
		if len(b) != size {
			t.Errorf("a buffer of %d bytes has %d", size, len(b))
		}
		if got, want := IsPooled(b), size >= leastPooled && size <= pieceBuffer; got != want {
			t.Errorf("a buffer of %d bytes is of the pool: %v, want %v", size, got, want)
		}
		PutBuffer(b)
	}
	PutBuffer(nil)
	PutBuffer(make([]byte, 100))
	// What two have at the same time is not the same.
	a, b := GetBuffer(60<<10), GetBuffer(60<<10)
	if &a[0] == &b[0] {
		t.Error("a buffer was given out twice")
	}
}
