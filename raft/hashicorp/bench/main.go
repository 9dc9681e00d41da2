// Bench measures how fast a Raft of three servers replicates over this module's transport and over hashicorp/raft's own
// NetworkTransport, in turns, and prints the two beside each other:
//
//	go run ./bench
//	go run ./bench -memory
//
// The second has hashicorp/raft's transport in memory in the place of this module's. That encodes and sends nothing: so much a
// transport can gain at all.
//
// All servers are in this one process and connected over TCP on 127.0.0.1, with the transport in Go. The logs are in
// memory. A number of writers each apply an entry, wait until it is committed, and apply the next.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"time"
)

func main() {
	var l load
	pairs := flag.Int("pairs", 10, "how many `times` each of the two is measured")
	flag.DurationVar(&l.duration, "duration", 3*time.Second, "how long each time")
	flag.IntVar(&l.writers, "writers", 128, "how many `writers` there are")
	flag.IntVar(&l.bytes, "bytes", 1024, "the length of an entry in `bytes`")
	flag.IntVar(&l.inFlight, "inflight", 0, "how many `requests` to append are under way to one server; 0: the default of both, which is 2")
	memory := flag.Bool("memory", false, "measure hashicorp/raft's transport in memory instead of this module's")
	flag.Parse()
	if *pairs < 1 || l.duration <= 0 || l.writers < 1 || l.bytes < 1 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	name, carry := "this module", carrier(node)
	if *memory {
		name, carry = "in memory", inMemory
	}
	if err := compare(*pairs, l, name, carry); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// compare measures NetworkTransport and another one in pairs, each of which the other begins.
func compare(pairs int, l load, name string, carry carrier) error {
	fmt.Printf("%d writers, entries of %d bytes, %v each time\n\n", l.writers, l.bytes, l.duration)
	fmt.Printf("%4s  %27s  %27s  %15s\n", "", "NetworkTransport", name, "ratio")
	fmt.Printf("%4s  %9s %8s %8s  %9s %8s %8s  %7s %7s\n", "pair", "entries/s", "p50", "p99", "entries/s", "p50", "p99", "entries", "p99")
	var rates, tails []float64
	for pair := range pairs {
		var theirs, ours figures
		runs := []func() error{
			func() (err error) { theirs, err = l.measure(network); return },
			func() (err error) { ours, err = l.measure(carry); return },
		}
		if pair%2 == 1 {
			slices.Reverse(runs)
		}
		if err := errors.Join(runs[0](), runs[1]()); err != nil {
			return err
		}
		rate, tail := ours.rate/theirs.rate, float64(ours.p99)/float64(theirs.p99)
		rates, tails = append(rates, rate), append(tails, tail)
		fmt.Printf("%4d  %s  %s  %7.2f %7.2f\n", pair+1, theirs, ours, rate, tail)
	}
	fmt.Printf("\nmedian of the ratios: %.2f of the entries per second, %.2f of the p99\n", median(rates), median(tails))
	return nil
}

func median(of []float64) float64 {
	slices.Sort(of)
	n := len(of)
	return (of[(n-1)/2] + of[n/2]) / 2
}
