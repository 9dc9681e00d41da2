package main

import (
	"context"
	"strings"
	"testing"

	"github.com/abhishekg16/cluster/examples/kv/internal/demo"
)

// What make demo-kv runs: the leader is killed, a server is added, one is removed, and all are killed at once, and
// nothing that was acknowledged is lost.
func TestTheDemo(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*deadline)
	defer cancel()
	var told strings.Builder
	if err := demo.Run(ctx, &told, t.TempDir(), thisProgram); err != nil {
		t.Errorf("%v; it told\n%s", err, told.String())
	}
	if !strings.HasSuffix(told.String(), "0 acknowledged writes are lost\n") {
		t.Errorf("it does not tell that nothing was lost, but\n%s", told.String())
	}
}
