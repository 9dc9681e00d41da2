package clustertest

import (
	"fmt"
	"math"
	"slices"
)

// wrong makes the test fail if there is a fault in the arguments of a call, which then
// does nothing, and reports whether there is: a server that does not exist, or a
// percentage in the place of a probability, would make a test pass for no reason.
func (n *Network) wrong(call string, fault error) bool {
	n.t.Helper()
	if fault != nil {
		n.t.Errorf("clustertest: %s: %v", call, fault)
	}
	return fault != nil
}

// checkIDs finds ids that are none, or that are given twice.
func (n *Network) checkIDs(ids ...int) error {
	for i, id := range ids {
		switch {
		case !slices.Contains(n.ids, id):
			return fmt.Errorf("there is no server %d: the ids are %s", id, n.idsText())
		case slices.Contains(ids[:i], id):
			return fmt.Errorf("server %d is given twice", id)
		}
	}
	return nil
}

// idsText names all servers.
func (n *Network) idsText() string {
	if last := len(n.ids) - 1; slices.Max(n.ids) == last && slices.IsSorted(n.ids) {
		return fmt.Sprintf("0 to %d", last) // there are no two alike
	}
	return fmt.Sprint(n.ids)
}

func (n *Network) checkLinks(links []Link) error {
	for _, l := range links {
		for _, id := range []int{l.From, l.To} {
			if id != Any && n.checkIDs(id) != nil {
				return fmt.Errorf("link %v: %w, or Any", l, n.checkIDs(id))
			}
		}
		if l.From == l.To && l.From != Any {
			return fmt.Errorf("link %v: what a server sends to itself does not pass the network", l)
		}
	}
	return nil
}

func (f Faults) check() error {
	for _, p := range []struct {
		name  string
		value float64
	}{{"Loss", f.Loss}, {"Duplicate", f.Duplicate}, {"Reorder", f.Reorder}} {
		if !(p.value >= 0 && p.value <= 1) { // NaN is neither
			return fmt.Errorf("a %s of %v: want a probability from 0 to 1", p.name, p.value)
		}
	}
	switch {
	case f.Bandwidth < 0:
		return fmt.Errorf("a Bandwidth of %d: want bytes a second, or 0 for no limit", f.Bandwidth)
	case f.InFlight < 0:
		return fmt.Errorf("an InFlight of %d: want bytes, or 0 for 1 MiB", f.InFlight)
	}
	for _, p := range []float64{0, 0.5, math.Nextafter(1, 0)} {
		if f.Delay != nil && f.Delay(p) < 0 {
			return fmt.Errorf("a Delay of %v: want 0 or more", f.Delay(p))
		}
	}
	return nil
}
