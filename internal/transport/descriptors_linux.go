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

// scanShare is what part of the time the descriptors are looked through at most, and what part those are looked at that lead where
// somebody asks about: a process with many servers has so many, and of those so many that lead to one server, that each cannot
// look for itself.
const scanShare = 20

// lookMost is how old what is known of them may be.
const lookMost = 200 * time.Millisecond

// A scan is the descriptors of this process by where they lead, as it was when they were last looked through.
type scan struct {
	mu     sync.Mutex
	at     time.Time
	took   time.Duration
	to     map[leads][]int
	err    error
	looked map[leads]look // since then
}

// A look is what the kernel last said of the connections that lead somewhere.
type look struct {
	at   time.Time
	took time.Duration
	all  []connection // is not changed any more
}

// A connection is what the kernel says of one.
type connection struct {
	info  unix.TCPInfo
	waits int // bytes that the other end has not acknowledged
}

var scanned scan

// connectionsTo are the connections of this process that lead to an address, as far as it can know them. They are as of a moment ago
// unless now is true: there may be others by now.
func connectionsTo(where leads) (all []connection, now bool, err error) {
	scanned.mu.Lock()
	defer scanned.mu.Unlock()
	now = scanned.renew()
	return scanned.known(where), now, scanned.err
}

// descriptorsTo are their descriptors, or those of connections that lead to the path of a Unix socket. They may have been closed since.
func descriptorsTo(where leads) ([]int, error) {
	scanned.mu.Lock()
	defer scanned.mu.Unlock()
	scanned.renew()
	return scanned.to[where], scanned.err
}

// knownTo are those of them that were there when the descriptors were last looked through, however long ago.
func knownTo(where leads) []int {
	scanned.mu.Lock()
	defer scanned.mu.Unlock()
	return scanned.to[where]
}

// renew looks the descriptors through unless that was a moment ago, and reports whether it did. The caller holds mu.
func (s *scan) renew() (now bool) {
	if began := time.Now(); s.to == nil || began.Sub(s.at) > scanShare*s.took {
		s.to, s.err = lookThrough()
		s.looked = make(map[leads]look)
		s.at = time.Now()
		s.took, now = s.at.Sub(began), true
	}
	return now
}

// known looks at those that lead to an address, unless it just has. All that are asked about share the time. The caller holds mu.
func (s *scan) known(where leads) []connection {
	began, last := time.Now(), s.looked[where]
	if !last.at.IsZero() && began.Sub(last.at) <= min(lookMost, scanShare*last.took*time.Duration(len(s.looked))) || len(s.to[where]) == 0 {
		return last.all
	}
	next := look{all: make([]connection, 0, len(s.to[where]))}
	for _, fd := range s.to[where] {
		if is, ok := leadsTo(fd); !ok || is != where {
			continue // it was closed since
		}
		if c, ok := connectionOf(fd); ok {
			next.all = append(next.all, c)
		}
	}
	next.at = time.Now()
	next.took = next.at.Sub(began)
	s.looked[where] = next
	return next.all
}

// connectionOf reports false for what is no TCP connection. It only asks the kernel, so that it may be called for a descriptor that somebody
// else closes meanwhile.
func connectionOf(fd int) (c connection, ok bool) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return c, false
	}
	waits, err := unix.IoctlGetInt(fd, unix.TIOCOUTQ) // SIOCOUTQ
	return connection{*info, waits}, err == nil
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
