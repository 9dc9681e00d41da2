// Bench measures how fast a Raft of three servers replicates over this module's transport and over hashicorp/raft's own
// NetworkTransport, in turns, and prints the two beside each other:
//
//	go run ./bench
//	go run ./bench -processes
//	go run ./bench -memory
//
// The first has all servers in one process. The second has each in a process of its own, as they are in use: they share neither a
// scheduler nor a heap, and the writers are in the process of the one that leads. The third has hashicorp/raft's transport in memory in the place
// of this module's. That encodes and sends nothing: so much a transport can gain at all.
//
// The servers are connected over TCP on 127.0.0.1, with the transport in Go. The logs are in
// memory. A number of writers each apply an entry, wait until it is committed, and apply the next.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

func main() {
	var l load
	pairs := flag.Int("pairs", 10, "how many `times` each of the two is measured")
	flag.DurationVar(&l.duration, "duration", 3*time.Second, "how long each time")
	flag.IntVar(&l.writers, "writers", 128, "how many `writers` there are")
	flag.IntVar(&l.bytes, "bytes", 1024, "the length of an entry in `bytes`")
	flag.IntVar(&l.inFlight, "inflight", 0, "how many `requests` to append are under way to one server; 0: the default of each")
	memory := flag.Bool("memory", false, "measure hashicorp/raft's transport in memory instead of this module's")
	apart := flag.Bool("processes", false, "run each server in a process of its own, which the one that leads writes in")
	id := flag.Int("server", -1, "be the server with this `id`: for -processes")
	of := flag.String("of", "", "the server's `transport`")
	addresses := flag.String("addresses", "", "the `addresses` of all servers")
	flag.Parse()
	if *pairs < 1 || l.duration <= 0 || l.writers < 1 || l.bytes < 1 || flag.NArg() > 0 || *memory && *apart || *id >= servers || *id >= 0 && carriers[*of].open == nil {
		flag.Usage()
		os.Exit(2)
	}
	ours := nodeName
	if *memory {
		ours = memoryName
	}
	var err error
	if *id >= 0 {
		err = l.serve(carriers[*of], *id, strings.Split(*addresses, ","))
	} else {
		err = compare(*pairs, l, ours, *apart)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

const (
	networkName = "NetworkTransport"
	nodeName    = "this module"
	memoryName  = "in memory"
)

var carriers = map[string]carrier{networkName: network, nodeName: node, memoryName: inMemory()}

// compare measures NetworkTransport and another one in pairs, each of which the other begins.
func compare(pairs int, l load, name string, apart bool) error {
	measure := func(name string) (figures, error) { return l.measure(carriers[name]) }
	if apart {
		measure = l.measureApart
	}
	fmt.Printf("%d writers, entries of %d bytes, %v each time\n\n", l.writers, l.bytes, l.duration)
	fmt.Printf("%4s  %27s  %27s  %15s\n", "", networkName, name, "ratio")
	fmt.Printf("%4s  %9s %8s %8s  %9s %8s %8s  %7s %7s\n", "pair", "entries/s", "p50", "p99", "entries/s", "p50", "p99", "entries", "p99")
	var rates, tails []float64
	for pair := range pairs {
		var theirs, ours figures
		runs := []func() error{
			func() (err error) { theirs, err = measure(networkName); return },
			func() (err error) { ours, err = measure(name); return },
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
