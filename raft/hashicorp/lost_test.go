package hashicorp_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/raft/hashicorp"
)

// ask sends a request in each of the two ways, and returns what becomes of it.
var ask = map[string]func(*testing.T, *hashicorp.Transport) <-chan error{
	"AppendEntries": func(t *testing.T, a *hashicorp.Transport) <-chan error {
		return result(func() error { return a.AppendEntries("1", "1", entry(1), new(raft.AppendEntriesResponse)) })
	},
	"a pipeline": func(t *testing.T, a *hashicorp.Transport) <-chan error {
		return result(push(t, pipe(t, a), 1).Error)
	},
}

// fails wants a request to fail before its deadline, which is the test's.
func fails(t *testing.T, done <-chan error, because string) {
	t.Helper()
	if err := outcome(t, done); err == nil || !strings.Contains(err.Error(), because) {
		t.Errorf("the request ended with %v, want an error that says %q", err, because)
	}
}

func TestARequestFailsWhenItsServerIsFoundDown(t *testing.T) {
	for name, begin := range ask {
		t.Run(name, func(t *testing.T) {
			a, b, nodes := pair(t, hashicorp.Config{Timeout: 2 * deadline}, hasty)
			done := begin(t, a)
			next(t, b) // and is not answered
			b.Close()
			nodes[1].Close()
			fails(t, done, "server 1 is down; it may have seen the AppendEntries")
		})
	}
}

// Also if all that happens before anybody has looked at the request for the first time.
func TestARequestFailsWhenItsServerHasStartedAnew(t *testing.T) {
	hashicorp.SetWatchInterval(t, 2*time.Second)
	for name, begin := range ask {
		t.Run(name, func(t *testing.T) {
			var serverCfg cluster.Config
			heard := make(chan error, 2)
			cfg := hashicorp.Config{Timeout: 2 * deadline, Other: func(*cluster.Envelope) { heard <- nil }}
			a, b, nodes := pair(t, cfg, hasty, func(c *cluster.Config) { serverCfg = *c })
			hello := &cluster.Envelope{Pid: 0, Msg: "hello"}
			if err := nodes[1].Send(t.Context(), hello); err != nil {
				t.Fatal(err)
			}
			outcome(t, heard)
			done := begin(t, a)
			next(t, b) // and is not answered
			b.Close()
			nodes[1].Close()
			again, err := cluster.NewFromConfig(1, serverCfg)
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if err := again.Send(t.Context(), hello); err != nil {
				t.Fatal(err)
			}
			fails(t, done, "server 1 has started anew; it may have seen the AppendEntries before")
		})
	}
}
