package main

import (
	"encoding/json"
	"fmt"
)

// An operation is what a command does to its key.
type operation string

const (
	put    operation = "put"
	swap   operation = "cas" // put if the key has the value Old
	remove operation = "delete"
)

// A command is a write as an entry of Raft's log has it.
type command struct {
	Operation operation `json:"op"`
	Key       string    `json:"key"`
	Value     []byte    `json:"value,omitempty"`
	Old       []byte    `json:"old,omitempty"`

	// Request is the client's name for this write, by which it is carried out once however often it is in the log.
	// Empty means that it has none.
	Request string `json:"request,omitempty"`
}

// An outcome is what became of a command. It is the same on all servers.
type outcome string

const (
	done    outcome = "done"
	missing outcome = "missing" // there is no such key
	differs outcome = "differs" // the key has another value than Old
)

func (c command) encode() ([]byte, error) { return json.Marshal(c) }

func decodeCommand(data []byte) (c command, err error) {
	if err := json.Unmarshal(data, &c); err != nil {
		return command{}, fmt.Errorf("an entry of the log is no command: %w", err)
	}
	switch c.Operation {
	case put, swap, remove:
		return c, nil
	}
	return command{}, fmt.Errorf("an entry of the log has the unknown operation %.20q", c.Operation)
}
