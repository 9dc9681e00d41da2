// Package flaw lets the fault campaign (module faults) break one rule of the library at a
// time, to see that it would notice, and set the clock of one process. Without the build
// tag mutants none of that is there: On is false for the compiler already, and Now is
// time.Now.
package flaw

// The rules that can be broken. A program built with the tag mutants breaks the one that
// the environment variable CLUSTER_MUTANT names.
const (
	Order  = "order"  // frames that came too early wait for those before them
	Dedupe = "dedupe" // a frame that had come before is refused
	Life   = "life"   // nothing of an earlier life of a peer is taken
	Gap    = "gap"    // what is missing in the sequence is counted
	Drops  = "drops"  // what is dropped from a queue is counted
	Queue  = "queue"  // a link queues no more than QueueBytes
	Size   = "size"   // what is larger than MaxMessageBytes is neither sent nor received
	Close  = "close"  // what was accepted is delivered before the node closes
)
