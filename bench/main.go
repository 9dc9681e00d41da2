// Command bench measures cluster against a bare PUSH/PULL loop over ZeroMQ, in
// one run on the same work: each figure comes from two fresh processes over
// 127.0.0.1, the contestants take turns, and the table gives medians and ratios.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A contestant is one way to pass messages between two processes.
type contestant struct {
	name string
	base string // the contestant that its ratios are to
	// sink receives n messages of size bytes and returns how long that took from
	// the first to the last; source sends them.
	sink   func(at addresses, size, n int) time.Duration
	source func(at addresses, size, n int)
	// echo returns what it receives, until it is killed; ping makes n round trips
	// and returns how long each took.
	echo func(at addresses)
	ping func(at addresses, size, n int) []time.Duration
}

var contestants = []contestant{bare, channels, bareCurve, keyed}

// addresses are where the two processes listen: the first one measures.
type addresses [2]string

func main() {
	role := flag.String("role", "", "used by the program itself")
	rounds := flag.Int("rounds", 5, "how often each contestant is measured")
	size := flag.Int("size", 16, "bytes of a message")
	count := flag.Int("count", 2_000_000, "messages one way")
	trips := flag.Int("trips", 20_000, "round trips")
	flag.Parse()
	if *role != "" {
		play(*role, flag.Args())
		return
	}
	oneWay := make(map[string][]float64)
	p50 := make(map[string][]float64)
	p99 := make(map[string][]float64)
	for range *rounds {
		for _, c := range contestants {
			out := measure(c.name, "oneway", *size, *count)
			oneWay[c.name] = append(oneWay[c.name], out[0])
			out = measure(c.name, "trip", *size, *trips)
			p50[c.name] = append(p50[c.name], out[0])
			p99[c.name] = append(p99[c.name], out[1])
		}
	}
	row := func(what, unit string, of map[string][]float64) {
		for _, c := range contestants {
			m, base := median(of[c.name]), median(of[c.base])
			fmt.Printf("%-22s %-14s %12.1f %-6s %6.2fx   (%.1f to %.1f)\n", what, c.name, m, unit, m/base,
				slices.Min(of[c.name]), slices.Max(of[c.name]))
		}
	}
	row("one way", "k/s", oneWay)
	row("round trip, p50", "µs", p50)
	row("round trip, p99", "µs", p99)
}

// measure runs one contestant in two processes and returns the figures that the
// measuring one prints.
func measure(name, what string, size, n int) []float64 {
	at := addresses{freeAddress(), freeAddress()}
	args := []string{name, at[0], at[1], strconv.Itoa(size), strconv.Itoa(n)}
	self, err := os.Executable()
	check(err)
	far := exec.Command(self, append([]string{"-role", what + "-far"}, args...)...)
	far.Stderr = os.Stderr
	check(far.Start())
	defer func() {
		far.Process.Kill()
		far.Wait()
	}()
	near := exec.Command(self, append([]string{"-role", what}, args...)...)
	near.Stderr = os.Stderr
	timeout := time.AfterFunc(2*time.Minute, func() { near.Process.Kill() })
	defer timeout.Stop()
	out, err := near.Output()
	check(err)
	var figures []float64
	for _, f := range strings.Fields(string(out)) {
		v, err := strconv.ParseFloat(f, 64)
		check(err)
		figures = append(figures, v)
	}
	return figures
}

func play(role string, args []string) {
	i := slices.IndexFunc(contestants, func(c contestant) bool { return c.name == args[0] })
	c, at := contestants[i], addresses{args[1], args[2]}
	size, err := strconv.Atoi(args[3])
	check(err)
	n, err := strconv.Atoi(args[4])
	check(err)
	switch role {
	case "oneway":
		took := c.sink(at, size, n)
		fmt.Println(float64(n-1) / took.Seconds() / 1000)
	case "oneway-far":
		c.source(at, size, n)
	case "trip":
		times := c.ping(at, size, n)
		slices.Sort(times)
		fmt.Println(micro(times[n/2]), micro(times[n*99/100]))
	case "trip-far":
		c.echo(at)
	}
}

func micro(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
