package incoming_test

import (
	"testing"

	"github.com/abhishekg16/cluster/internal/testcluster"
)

func TestMain(m *testing.M) { testcluster.Main(m) }
