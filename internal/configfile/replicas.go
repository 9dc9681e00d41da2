package configfile

import "github.com/abhishekg16/cluster/peercatalog"

// replicas are servers whose entries a file need not write out.
type replicas struct {
	given bool               // the file has them
	peers []peercatalog.Peer // their entries; none if something is wrong with them
}

// replicaFields reads what the file says of replicas.
func (p *parser) replicaFields(f fields) {
	const want = `a string with {id} where the id is, for example "demo-{id}.demo:8081"`
	var count int
	var address, bind string
	ok := p.take(f, "replicas", &count, "a whole number of servers, for example 3")
	addressed := p.take(f, "replicaAddress", &address, want)
	p.take(f, "replicaBind", &bind, `a string such as "*:8081"`)
	p.replicas = replicas{given: f.has("replicas")}
	for _, other := range []string{"replicaAddress", "replicaBind"} {
		if v := f.ours(other); v.raw != nil && !f.has("replicas") && !f.slipped("replicas") {
			p.fault(v.nameAt, "%s without replicas: want both, as in {\"replicas\": 3, \"replicaAddress\": \"demo-{id}.demo:8081\"}", other)
		}
	}
	switch {
	case !ok || f.has("replicaAddress") && !addressed || f.slipped("replicaAddress"):
		return
	case !f.has("replicaAddress"):
		p.fault(f.ours("replicas").at, "replicas without replicaAddress: want %s", want)
		return
	}
	made, err := peercatalog.Replicas(count, address, bind)
	if err != nil {
		p.fault(f.ours("replicas").at, "%w", err)
		return
	}
	p.replicas.peers = made
}

// entry is what a replica's own entry leaves out, if it may leave out its address.
func (r *replicas) entry(id int) (peercatalog.Peer, bool) {
	if id < 0 || id >= len(r.peers) {
		return peercatalog.Peer{}, false
	}
	return r.peers[id], true
}

// addReplicas adds the replicas that have no entry.
func (p *parser) addReplicas() {
	if p.replicas.given && p.replicas.peers == nil && len(p.Peers) == 0 {
		p.doubt("peers") // why there are none is said
	}
	if len(p.replicas.peers) == 0 {
		return
	}
	listed := make(map[int]bool)
	for i, peer := range p.Peers {
		if !p.Doubtful[Field{i, "id"}] {
			listed[peer.ID] = true
		}
	}
	for _, replica := range p.replicas.peers {
		if !listed[replica.ID] {
			p.Peers = append(p.Peers, replica)
		}
	}
}
