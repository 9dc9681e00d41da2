package transport

import (
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A leads is an address, or the path of a Unix socket, that connections of this process lead to.
type leads struct {
	addr netip.AddrPort
	path string
}

// scanShare is what part of the time the descriptors are looked through at most: a process with a thousand servers has so many that
// each server cannot look for itself.
const scanShare = 20

// A scan is the descriptors of this process by where they lead, as it was when they were last looked through.
type scan struct {
	mu   sync.Mutex
	at   time.Time
	took time.Duration
	to   map[leads][]int
	err  error
}

var scanned scan

// descriptorsTo are the descriptors of this process's connections that lead somewhere, as far as it can know them. They are as of a moment ago
// unless now is true: there may be others by now.
func descriptorsTo(where leads) (all []int, now bool, err error) {
	s := &scanned
	s.mu.Lock()
	defer s.mu.Unlock()
	if began := time.Now(); s.to == nil || began.Sub(s.at) > scanShare*s.took {
		s.to, s.err = lookThrough()
		s.at = time.Now()
		s.took, now = s.at.Sub(began), true
	}
	return s.known(where), now, s.err
}

// knownTo are those of them that were there when the descriptors were last looked through, however long ago.
func knownTo(where leads) []int {
	scanned.mu.Lock()
	defer scanned.mu.Unlock()
	return scanned.known(where)
}

func (s *scan) known(where leads) (all []int) {
	for _, fd := range s.to[where] {
		if is, ok := leadsTo(fd); ok && is == where { // it was not closed since
			all = append(all, fd)
		}
	}
	return all
}

func lookThrough() (map[leads][]int, error) {
	to := make(map[leads][]int)
	entries, err := os.ReadDir("/proc/self/fd")
	for _, entry := range entries {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if where, ok := leadsTo(fd); ok {
			to[where] = append(to[where], fd)
		}
	}
	return to, err
}

// leadsTo is where a descriptor's connection leads.
func leadsTo(fd int) (leads, bool) {
	peer, err := unix.Getpeername(fd)
	if err != nil {
		return leads{}, false
	}
	switch a := peer.(type) {
	case *unix.SockaddrInet4:
		return leads{addr: netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))}, true
	case *unix.SockaddrInet6:
		return leads{addr: netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))}, true
	case *unix.SockaddrUnix:
		return leads{path: a.Name}, a.Name != ""
	}
	return leads{}, false
}
