package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/hashicorp/raft"

	"github.com/abhishekg16/cluster/raft/hashicorp"
)

const (
	maxKey     = 1 << 10
	maxValue   = 128 << 10
	maxRequest = 128 // of the name of a request
)

// requestHeader has the client's name for a write, which it gives again when it repeats the write.
const requestHeader = "Idempotency-Key"

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /kv/{key...}", s.get)
	mux.HandleFunc("PUT /kv/{key...}", s.write)
	mux.HandleFunc("DELETE /kv/{key...}", s.write)
	mux.HandleFunc("GET /members", s.members)
	mux.HandleFunc("PUT /members/{id}", s.changeMember)
	mux.HandleFunc("DELETE /members/{id}", s.changeMember)
	mux.HandleFunc("GET /status", s.status)
	return mux
}

// get answers with the value of a key.
func (s *server) get(w http.ResponseWriter, r *http.Request) {
	if err := s.reads.pass(r.Context()); err != nil {
		// Nothing was to change, so that it can be repeated whatever has happened.
		s.refuse(w, r, err)
		return
	}
	value, found, err := s.store.get(r.PathValue("key"))
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	case !found:
		http.Error(w, "there is no such key", http.StatusNotFound)
	default:
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Write(value)
	}
}

// write puts or deletes a key; PUT with ?old=VALUE puts it only if it has that value.
func (s *server) write(w http.ResponseWriter, r *http.Request) {
	c := command{Operation: put, Key: r.PathValue("key"), Request: r.Header.Get(requestHeader)}
	if len(c.Key) == 0 || len(c.Key) > maxKey || len(c.Request) > maxRequest {
		http.Error(w, fmt.Sprintf("a key has 1 to %d bytes, and %s at most %d", maxKey, requestHeader, maxRequest), http.StatusBadRequest)
		return
	}
	if r.Method == http.MethodDelete {
		c.Operation = remove
	} else {
		value, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxValue))
		if err != nil {
			http.Error(w, fmt.Sprintf("a value has at most %d bytes: %v", maxValue, err), http.StatusRequestEntityTooLarge)
			return
		}
		c.Value = value
		if query := r.URL.Query(); query.Has("old") {
			c.Operation, c.Old = swap, []byte(query.Get("old"))
		}
	}
	result, err := s.carryOut(c)
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout):
		s.refuse(w, r, err)
	case err != nil:
		unknown(w, err)
	case result == missing:
		http.Error(w, "there is no such key", http.StatusNotFound)
	case result == differs:
		http.Error(w, "the key has another value", http.StatusPreconditionFailed)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// carryOut writes a command to the log and waits until it is carried out here, and in the log of a majority.
func (s *server) carryOut(c command) (outcome, error) {
	entry, err := c.encode()
	if err != nil {
		return "", err
	}
	f := s.raft.Apply(entry, enqueueTimeout)
	if err := f.Error(); err != nil {
		return "", err
	}
	switch result := f.Response().(type) {
	case outcome:
		return result, nil
	case error:
		return "", result
	}
	return "", fmt.Errorf("the store answered with %T", f.Response())
}

// refuse answers a request that has had no effect: it sends the client to the leader, or tells it to come again where
// this server does not know one.
func (s *server) refuse(w http.ResponseWriter, r *http.Request, why error) {
	if leader, err := s.leader(); err == nil && leader != s.node.Pid() {
		if address, err := s.httpAddress(leader); err == nil {
			http.Redirect(w, r, "http://"+address+r.URL.RequestURI(), http.StatusTemporaryRedirect)
			return
		}
	}
	w.Header().Set("Retry-After", "1")
	http.Error(w, "not done: "+why.Error(), http.StatusServiceUnavailable)
}

// unknown answers a write that was begun: what becomes of it is decided, or will be, elsewhere.
func unknown(w http.ResponseWriter, why error) {
	http.Error(w, "unknown whether it was done, or will be: "+why.Error(), http.StatusGatewayTimeout)
}

// leader is the server that this one takes for the leader.
func (s *server) leader() (int, error) {
	address, _ := s.raft.LeaderWithID()
	return hashicorp.Pid(address)
}

// httpAddress is where a server answers HTTP: the field "kv" of its entry in the configuration.
func (s *server) httpAddress(id int) (address string, err error) {
	p, _ := s.node.Catalog().Get(id)
	if err := json.Unmarshal(p.Extra["kv"], &address); err != nil || address == "" {
		return "", fmt.Errorf(`the entry of server %d has no field "kv", such as "127.0.0.1:9080", which says where it answers HTTP`, id)
	}
	return address, nil
}
