package hashicorp

import (
	"testing"
	"time"
)

// SetWatchInterval lets the requests of transports that are made from now on look for their servers at another interval. Such tests are
// not parallel.
func SetWatchInterval(t *testing.T, d time.Duration) {
	before := watchInterval
	watchInterval = d
	t.Cleanup(func() { watchInterval = before })
}
