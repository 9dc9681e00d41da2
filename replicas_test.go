package cluster_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

func TestReplicasNeedNoEntries(t *testing.T) {
	const bind = `"replicaBind": "*:8081"`
	demo := func(id int) peercatalog.Peer {
		return peercatalog.Peer{ID: id, Address: fmt.Sprintf("demo-%d.demo:8081", id), Bind: "*:8081"}
	}
	observer := demo(1)
	observer.Observer, observer.Bind = true, "*:9000"
	other := peercatalog.Peer{ID: 7, Address: "10.0.0.7:1"}
	elsewhere := peercatalog.Peer{ID: 0, Address: "10.0.0.1:1"}
	for _, c := range []struct {
		name, text string
		want       []peercatalog.Peer
	}{
		{"none is listed", bind, []peercatalog.Peer{demo(0), demo(1), demo(2)}},
		{"an empty list", bind + `, "peers": []`, []peercatalog.Peer{demo(0), demo(1), demo(2)}},
		{"without bind", `"cluster": ""`, []peercatalog.Peer{{ID: 0, Address: "demo-0.demo:8081"}, {ID: 1, Address: "demo-1.demo:8081"}, {ID: 2, Address: "demo-2.demo:8081"}}},
		{"one has an entry", bind + `, "peers": [{"id": 1, "observer": true, "bind": "*:9000"}]`, []peercatalog.Peer{observer, demo(0), demo(2)}},
		{"all have", bind + `, "peers": [{"id": 2}, {"id": 1}, {"id": 0}]`, []peercatalog.Peer{demo(2), demo(1), demo(0)}},
		{"one is elsewhere, and another one is no replica", bind + `, "peers": [{"id": 7, "address": "10.0.0.7:1"}, {"id": 0, "address": "10.0.0.1:1"}]`, []peercatalog.Peer{other, elsewhere, demo(1), demo(2)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := cluster.ParseConfig("Config.json", []byte(`{"replicas": 3, "replicaAddress": "demo-{id}.demo:8081", `+c.text+`}`))
			if diff := cmp.Diff(c.want, cfg.Peers); err != nil || diff != "" {
				t.Errorf("%v, -want +got:\n%s", err, diff)
			}
		})
	}
}

func TestFaultsOfReplicasAreToldOnceEach(t *testing.T) {
	const ok = `"replicas": 3, "replicaAddress": "demo-{id}.demo:8081"`
	for _, c := range []struct {
		name, text string
		want       []string // one for each fault
	}{
		{"no address", `"replicas": 3`, []string{`Config.json:1:14: replicas without replicaAddress: want a string with {id}`}},
		{"no address, and entries without one", `"replicas": 3, "peers": [{"id": 0}]`, []string{"replicas without replicaAddress"}},
		{"no replicas", `"replicaAddress": "demo-{id}:1", "replicaBind": "*:1", "peers": [{"id": 0, "address": "a:1"}]`, []string{"replicaAddress without replicas", "replicaBind without replicas"}},
		{"no number", `"replicas": "3", "replicaAddress": "demo-{id}:1"`, []string{`replicas: got the string "3"`}},
		{"none", `"replicas": 0, "replicaAddress": "demo-{id}:1"`, []string{"0 replicas: want 1 to 65536"}},
		{"an address without the id", `"replicas": 3, "replicaAddress": "demo:1"`, []string{`the address "demo:1" of the replicas: want one with {id}`}},
		{"an unusable address", `"replicas": 3, "replicaAddress": "demo-{id}"`, []string{`the replicas: address "demo-0": no port`}},
		{"an address that is none", `"replicas": 3, "replicaAddress": 7`, []string{"replicaAddress: got the number 7"}},
		{"a slip", `"replicas": 3, "replicaAdress": "demo-{id}:1"`, []string{`unknown field "replicaAdress": did you mean "replicaAddress"`}},
		{"an entry that is no replica", ok + `, "peers": [{"id": 3}]`, []string{"peers[0] (id 3): address is missing"}},
		{"a slip in an entry", ok + `, "peers": [{"id": 0, "adress": "a:1"}]`, []string{`peers[0] (id 0): unknown field "adress": did you mean "address"`}},
		{"an id twice", ok + `, "peers": [{"id": 0}, {"id": 0}]`, []string{"peers[1] (id 0): id 0 is also that of peers[0]", "peers[1] (id 0): address"}},
		{"the address of a replica", ok + `, "peers": [{"id": 9, "address": "demo-1.demo:8081"}]`, []string{`peers[2] (id 1): address "demo-1.demo:8081" is also that of peers[0] (id 9)`}},
		{"keys for some", ok + `, "peers": [{"id": 0, "public_key": "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"}]`, []string{"peers[1] (id 1): public_key is missing", "peers[2] (id 2): public_key is missing"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := cluster.ParseConfig("Config.json", []byte(`{`+c.text+`}`))
			if err == nil {
				t.Fatal("there is no error")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(c.want) {
				t.Fatalf("got %d faults, want %d:\n%v", len(lines), len(c.want), err)
			}
			for i, want := range c.want {
				if !strings.Contains(lines[i], want) {
					t.Errorf("got %s\nwant %q in it", lines[i], want)
				}
			}
		})
	}
}
