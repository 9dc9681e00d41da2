package etcd

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

// The directories below a cluster's root.
const (
	peersDir = "peers/"
	givenDir = "given/"
)

// A state is what etcd has of a cluster at one revision.
type state struct {
	revision int64
	peers    map[int]peercatalog.Peer
	given    map[int]string // the marks of the ids that were given out
}

// list is the peers in the order of their ids.
func (st *state) list() []peercatalog.Peer {
	peers := make([]peercatalog.Peer, 0, len(st.peers))
	for _, p := range st.peers {
		peers = append(peers, p)
	}
	slices.SortFunc(peers, func(p, q peercatalog.Peer) int { return p.ID - q.ID })
	return peers
}

// check returns what is wrong with the peers beside one another.
func (st *state) check() error {
	_, err := peercatalog.New(st.list()...)
	return err
}

// free is the smallest id that nobody has and nobody was given.
func (st *state) free() (int, error) {
	for id := range peercatalog.MaxID + 1 {
		_, taken := st.peers[id]
		if _, given := st.given[id]; !taken && !given {
			return id, nil
		}
	}
	return 0, fmt.Errorf("etcd: all ids up to %d were given out: ask for one that is free by JoinAs", peercatalog.MaxID)
}

// parse reads keys below the cluster's root. The error joins one for each entry that is wrong.
func (s *Store) parse(r *clientv3.GetResponse) (*state, error) {
	st := &state{revision: r.Header.Revision, peers: make(map[int]peercatalog.Peer), given: make(map[int]string)}
	var faults []error
	for _, kv := range r.Kvs {
		key := string(kv.Key)
		name := strings.TrimPrefix(key, s.root)
		if text, ok := strings.CutPrefix(name, givenDir); ok {
			if id, err := parseID(text); err == nil {
				st.given[id] = string(kv.Value)
			}
			continue
		}
		text, ok := strings.CutPrefix(name, peersDir)
		if !ok {
			continue
		}
		p, err := decode(text, kv.Value)
		if err != nil {
			faults = append(faults, fmt.Errorf("etcd: %s: %w", key, err))
			continue
		}
		st.peers[p.ID] = p
	}
	return st, errors.Join(faults...)
}

func parseID(text string) (int, error) {
	id, err := strconv.Atoi(text)
	if err != nil || id < 0 || id > peercatalog.MaxID || strconv.Itoa(id) != text {
		return 0, fmt.Errorf("the key ends with %.60q: want an id from 0 to %d", text, peercatalog.MaxID)
	}
	return id, nil
}

// decode reads the entry at the key that ends with name. It is an entry as Config.json has it, and read by what
// reads that.
func decode(name string, value []byte) (peercatalog.Peer, error) {
	id, err := parseID(name)
	if err != nil {
		return peercatalog.Peer{}, err
	}
	if !json.Valid(value) {
		return peercatalog.Peer{}, errors.New(`the value is not valid JSON: want an entry such as {"id": 0, "address": "10.0.0.1:8081"}`)
	}
	var cfg cluster.Config
	if err := cfg.UnmarshalJSON(slices.Concat([]byte(`{"peers":[`), value, []byte("]}"))); err != nil {
		return peercatalog.Peer{}, fmt.Errorf("the entry, as one of a configuration: %w", err)
	}
	p := cfg.Peers[0]
	if p.ID != id {
		return peercatalog.Peer{}, fmt.Errorf("the entry has the id %d: want that of its key", p.ID)
	}
	if err := p.Validate(); err != nil {
		return peercatalog.Peer{}, err
	}
	return p, nil
}

// encode is what decode reads.
func encode(p peercatalog.Peer) (string, error) {
	text, err := cluster.Config{Peers: []peercatalog.Peer{p}}.MarshalJSON()
	if err != nil {
		return "", err
	}
	var c struct{ Peers []json.RawMessage }
	if err := json.Unmarshal(text, &c); err != nil {
		return "", err
	}
	return string(c.Peers[0]), nil
}
