package peercatalog_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster/peercatalog"
)

func TestReplicasDifferInTheirIds(t *testing.T) {
	for _, c := range []struct {
		address, bind string
		want          []peercatalog.Peer
	}{
		{"demo-{id}.demo:8081", "*:8081", []peercatalog.Peer{{ID: 0, Address: "demo-0.demo:8081", Bind: "*:8081"}, {ID: 1, Address: "demo-1.demo:8081", Bind: "*:8081"}}},
		{"127.0.0.1:808{id}", "", []peercatalog.Peer{{ID: 0, Address: "127.0.0.1:8080"}, {ID: 1, Address: "127.0.0.1:8081"}}},
		{"ipc:///run/{id}/{id}", "ipc://{id}", []peercatalog.Peer{{ID: 0, Address: "ipc:///run/0/0", Bind: "ipc://0"}, {ID: 1, Address: "ipc:///run/1/1", Bind: "ipc://1"}}},
	} {
		got, err := peercatalog.Replicas(2, c.address, c.bind)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v, -want +got:\n%s", c.address, err, diff)
		}
	}
}

func TestUnusableReplicasAreRefusedAllAtOnce(t *testing.T) {
	for _, c := range []struct {
		n             int
		address, bind string
		want          []string
	}{
		{0, "demo-{id}:1", "", []string{"0 replicas: want 1 to 65536"}},
		{65537, "demo-{id}:1", "", []string{"65537 replicas"}},
		{3, "demo:1", "", []string{`the address "demo:1" of the replicas`, "{id}"}},
		{3, "demo-{id}", "", []string{`the replicas: address "demo-0": no port`}},
		{3, "demo-{id}:1", "here", []string{`the replicas: bind "here": no port`}},
		{-1, "", "", []string{"-1 replicas", `the address "" of the replicas`}},
	} {
		_, err := peercatalog.Replicas(c.n, c.address, c.bind)
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%d, %q, %q: got %v, want %q in it", c.n, c.address, c.bind, err, want)
			}
		}
	}
}
