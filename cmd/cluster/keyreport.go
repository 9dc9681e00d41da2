package main

import (
	"fmt"
	"io"
)

// A keyReport is what keygen has done. Its JSON form is that of --json.
type keyReport struct {
	Config string   `json:"config,omitempty"`
	Keys   []keyRow `json:"keys"`
	Next   []step   `json:"next,omitempty"`

	peers []peer    // whose entries were changed
	note  string    // about the configuration
	left  leftovers // that could not be deleted
}

type keyRow struct {
	Server    int    `json:"server"`
	File      string `json:"file"`
	PublicKey string `json:"public_key"`
	New       bool   `json:"new"` // made now; otherwise it was there
}

func (r *keyReport) made(id int, key keyWrite) {
	r.Keys = append(r.Keys, keyRow{Server: id, File: key.path, PublicKey: key.public, New: true})
}

func (r *keyReport) print(w io.Writer) {
	for _, k := range r.Keys {
		if k.New {
			fmt.Fprintf(w, "%s: the secret key of server %d, which nobody else may have\n", k.File, k.Server)
		} else {
			fmt.Fprintf(w, "%s: was there already; server %d keeps this key\n", k.File, k.Server)
		}
		if r.Config == "" {
			fmt.Fprintf(w, "The public key, for the entry of server %d in every server's configuration:\n  \"public_key\": %q\n", k.Server, k.PublicKey)
		}
	}
	if r.note != "" {
		fmt.Fprintln(w, r.note)
	}
	if len(r.Next) > 0 {
		printSteps(w, r.Next)
	}
}

// leftovers are files that should have been deleted, and why they are not.
type leftovers []leftover

type leftover struct {
	path string
	err  error
}

func (l leftovers) paths() (all []string) {
	for _, f := range l {
		all = append(all, operand(f.path))
	}
	return all
}

func (l leftovers) faults() (all []error) {
	for _, f := range l {
		all = append(all, f.err)
	}
	return all
}
