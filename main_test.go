package cluster_test

import (
	"testing"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

func TestMain(m *testing.M) { testcluster.Main(m) }

// Tests outside this package count on these.
func TestTheTestsKnowTheDefaultsOfConfig(t *testing.T) {
	for name, values := range map[string][2]any{
		"SendTimeout":   {testcluster.SendTimeout, cluster.DefaultSendTimeout},
		"OutboxSize":    {testcluster.OutboxSize, cluster.DefaultOutboxSize},
		"MinQueueBytes": {testcluster.MinQueueBytes, cluster.MinQueueBytes},
	} {
		if values[0] != values[1] {
			t.Errorf("testcluster.%s is %v, and it is %v", name, values[0], values[1])
		}
	}
}
