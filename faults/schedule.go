//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// A period is one fault of the soak, or quiet.
type period struct {
	fault   string // empty: quiet
	victims []int  // the first is the victim where one is meant
	length  time.Duration
}

func (p period) String() string {
	if p.fault == "" {
		return fmt.Sprintf("quiet for %v", p.length)
	}
	return fmt.Sprintf("%s, servers %v, %v", p.fault, p.victims, p.length)
}

// A schedule draws periods from a seed, and from nothing else: the same seed, the same
// faults.
type schedule struct {
	random *rand.Rand
	faults []string
	ids    []int // of those that may be victims
}

func newSchedule(seed uint64, faults []string, ids []int) *schedule {
	return &schedule{rand.New(rand.NewPCG(seed, 2)), faults, ids}
}

// next is the next period. One in four is quiet.
func (s *schedule) next() period {
	// All is drawn always, so that each period takes as much from the source.
	quiet := s.random.IntN(4) == 0
	fault := s.faults[s.random.IntN(len(s.faults))]
	victims := make([]int, len(s.ids))
	for i, j := range s.random.Perm(len(s.ids)) {
		victims[i] = s.ids[j]
	}
	p := period{fault, victims, time.Duration(1000+s.random.IntN(4000)) * time.Millisecond}
	if quiet {
		p.fault, p.victims = "", nil
	}
	return p
}
