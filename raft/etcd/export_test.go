package etcd

import (
	"testing"
	"time"
)

// SetWatchInterval lets the node of transports that are made from now on be asked at another interval. Such tests are not parallel.
func SetWatchInterval(t *testing.T, d time.Duration) {
	before := watchInterval
	watchInterval = d
	t.Cleanup(func() { watchInterval = before })
}
