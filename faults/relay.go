//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A relay joins hosts in the place of a bridge. It takes each packet that a host sends, and
// gives it to the host that it is for after a time of its own: packets overtake one
// another, as they may on the Internet, and TCP has to put them in order.
type relay struct {
	devices      []*os.File // TUN, by host
	hosts        map[[4]byte]int
	base, jitter time.Duration
	readers      sync.WaitGroup
	underWay     sync.WaitGroup // packets

	mu     sync.Mutex // guards what follows, and who writes to a device
	closed bool
	failed error
	did    passage
	taken  map[way]int // the number of the last segment
	given  map[way]int // the highest number so far
}

// A way is one direction of one connection: addresses and ports, as they are in a packet.
type way [12]byte

// A passage is what a relay did.
type passage struct {
	carrying    int // segments with data
	overtaken   int // of these, by a later one of the same way
	least, most time.Duration
}

const tunDevice = "/dev/net/tun"

// needTUN is the need of a device whose packets a program takes and gives.
var needTUN = need{tunDevice, func() error {
	f, err := os.OpenFile(tunDevice, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}}

// newRelayed makes hosts between which there is a relay. Each packet is under way for base,
// more or less up to jitter.
func (t *trial) newRelayed(hosts int, base, jitter time.Duration) (*network, *relay, error) {
	n := &network{t: t}
	r := &relay{base: base, jitter: jitter, hosts: make(map[[4]byte]int), taken: make(map[way]int), given: make(map[way]int)}
	for i := range hosts {
		name, err := t.newNamespace(strconv.Itoa(i))
		if err != nil {
			return nil, nil, err
		}
		n.hosts = append(n.hosts, name)
	}
	t.onEnd(r.close) // before the namespaces are removed
	for i, name := range n.hosts {
		f, err := openTUN(name)
		if err != nil {
			return nil, nil, fmt.Errorf("a device for host %d: %w", i, err)
		}
		r.devices = append(r.devices, f)
		r.hosts[netip.MustParseAddr(hostAddress(i)).As4()] = i
		if err := n.connect(i); err != nil {
			return nil, nil, err
		}
	}
	for host := range r.devices {
		random := rand.New(rand.NewPCG(t.seed, uint64(host)))
		r.readers.Go(func() { r.carry(host, random) }) // close ends it, and waits.
	}
	return n, r, nil
}

// openTUN makes the device of a host, and returns what its packets are read from and
// written to. With that the device goes too.
func openTUN(namespace string) (f *os.File, err error) {
	err = inNamespace(namespace, func() (err error) {
		f, err = openTUNHere()
		return err
	})
	return f, err
}

func openTUNHere() (*os.File, error) {
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	request, err := unix.NewIfreq(device)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), tunDevice), nil
}

// carry takes what one host sends.
func (r *relay) carry(host int, random *rand.Rand) {
	for {
		packet := make([]byte, 2048) // more than the device's MTU
		size, err := r.devices[host].Read(packet)
		if err != nil {
			if !errors.Is(err, os.ErrClosed) {
				r.fail(err)
			}
			return
		}
		took := time.Now()
		packet = packet[:size]
		// What else the kernel sends, such as the multicasts of IPv6, is for nobody here.
		if len(packet) < 20 || packet[0]>>4 != 4 {
			continue
		}
		to, ok := r.hosts[[4]byte(packet[16:20])]
		if !ok {
			continue
		}
		w, carries := segment(packet)
		r.mu.Lock()
		if carries {
			r.taken[w]++
		}
		number := r.taken[w]
		r.mu.Unlock()
		after := r.base - r.jitter + time.Duration(random.Int64N(int64(2*r.jitter)+1))
		r.underWay.Add(1) // close waits.
		time.AfterFunc(after, func() {
			defer r.underWay.Done()
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.closed {
				return
			}
			if _, err := r.devices[to].Write(packet); err != nil {
				r.failed = errors.Join(r.failed, err)
				return
			}
			if !carries {
				return
			}
			r.did.carrying++
			if number < r.given[w] {
				r.did.overtaken++
			}
			r.given[w] = max(r.given[w], number)
			passed := time.Since(took)
			r.did.most = max(r.did.most, passed)
			if r.did.least == 0 || passed < r.did.least {
				r.did.least = passed
			}
		})
	}
}

// segment tells of which way of which connection a packet is, and whether it carries data.
func segment(packet []byte) (w way, carries bool) {
	head := 4 * int(packet[0]&0xf)
	if packet[9] != unix.IPPROTO_TCP || len(packet) < head+20 {
		return w, false
	}
	copy(w[:], packet[12:20])
	copy(w[8:], packet[head:head+4])
	data := head + 4*int(packet[head+12]>>4)
	return w, int(binary.BigEndian.Uint16(packet[2:])) > data
}

func (r *relay) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = errors.Join(r.failed, err)
}

// told is what the relay did, unless it could not do it all.
func (r *relay) told() (passage, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.did, r.failed
}

func (r *relay) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	for _, f := range r.devices {
		f.Close()
	}
	r.readers.Wait()
	r.underWay.Wait()
}
