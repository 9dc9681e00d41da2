//go:build !windows

package bind

import (
	"errors"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

func TestAPathHasOneClaimAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	var holders atomic.Int32
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for got := 0; got < 500; {
				c, err := Path(path)
				if errors.Is(err, syscall.EADDRINUSE) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				got++
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d have the path", n)
				}
				runtime.Gosched()
				holders.Add(-1)
				c.Release()
			}
		})
	}
	all.Wait()
}
