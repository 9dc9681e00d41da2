// Package peerrules has what the package peercatalog, which owns the rules for a list of
// peers, shares with the other packages of this module beyond its public face.
package peerrules

import (
	"errors"
	"strings"
)

// A Fault is one thing that is wrong with a list of peers.
type Fault struct {
	Index int    // of the peer in the list
	Field string // of the peer, by its name in a configuration
	Other int    // the index of an earlier peer that has the same there, or -1
	// Plain is what is wrong, without the name of a peer. Where there is an Other, it is
	// only what both have, such as: address "127.0.0.1:8081".
	Plain error
	// Told is the fault in the words of peercatalog, which names peers by their ids. It is
	// nil where that would only repeat another fault: that two peers with the same id have
	// the same address, for example.
	Told error
}

// Faults is an error that joins all that is wrong with a list of peers.
type Faults []Fault

// Error has a line for each fault, in the words of peercatalog.
func (fs Faults) Error() string {
	var lines []string
	for _, err := range fs.Unwrap() {
		lines = append(lines, err.Error())
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the errors that Error has the lines of.
func (fs Faults) Unwrap() (told []error) {
	for _, f := range fs {
		if f.Told != nil {
			told = append(told, f.Told)
		}
	}
	return told
}

// Of returns what err, an error of peercatalog.New, is made of.
func Of(err error) Faults {
	var fs Faults
	errors.As(err, &fs)
	return fs
}

// Own tells a *peercatalog.Catalog that the running server with this id owns it: from
// then on that server's entry must say where the server listens. The package peercatalog
// sets Own when it is initialised, and whoever has a Catalog imports that package.
var Own func(catalog any, id int)
