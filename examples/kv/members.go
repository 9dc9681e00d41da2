package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/hashicorp/raft"

	"github.com/abhishekg16/cluster/raft/hashicorp"
)

// A state is what a server knows of itself at the moment, which may be out of date.
type state struct {
	ID        int    `json:"id"`
	Role      string `json:"role"`
	Term      uint64 `json:"term"`
	Leader    *int   `json:"leader"`    // null if it knows none
	Listed    []int  `json:"listed"`    // the servers of its configuration
	Voters    []int  `json:"voters"`    // those that vote
	Committed uint64 `json:"committed"` // the last entry of the log that it knows to be committed
}

// status tells what this server knows, without asking another.
func (s *server) status(w http.ResponseWriter, _ *http.Request) {
	voters, err := s.voters()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	now := state{
		ID: s.node.Pid(), Role: s.raft.State().String(), Term: s.raft.CurrentTerm(),
		Listed: s.node.Catalog().Participants(), Voters: voters, Committed: s.raft.CommitIndex(),
	}
	if leader, err := s.leader(); err == nil {
		now.Leader = &leader
	}
	writeJSON(w, now)
}

// members answers with the ids of the servers that vote.
func (s *server) members(w http.ResponseWriter, r *http.Request) {
	if err := s.reads.pass(r.Context()); err != nil {
		s.refuse(w, r, err)
		return
	}
	voters, err := s.voters()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	writeJSON(w, voters)
}

// changeMember gives a server of the configuration a vote, or takes it away. That server's own entry in the
// configuration comes before, and goes after that.
func (s *server) changeMember(w http.ResponseWriter, r *http.Request) {
	id, err := hashicorp.Pid(raft.ServerAddress(r.PathValue("id")))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var f raft.IndexFuture
	if r.Method == http.MethodDelete {
		f = s.raft.RemoveServer(raftID(id), 0, enqueueTimeout)
	} else {
		if !slices.Contains(s.node.Catalog().Participants(), id) {
			http.Error(w, fmt.Sprintf("server %d is not in the configuration of server %d: add it there first", id, s.node.Pid()), http.StatusConflict)
			return
		}
		f = s.raft.AddVoter(raftID(id), hashicorp.Address(id), 0, enqueueTimeout)
	}
	switch err := f.Error(); {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout):
		s.refuse(w, r, err)
	case err != nil:
		unknown(w, err)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// voters are the servers that vote, as far as this one knows.
func (s *server) voters() (ids []int, err error) {
	f := s.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return nil, err
	}
	for _, m := range f.Configuration().Servers {
		id, err := hashicorp.Pid(m.Address)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}
